"""Windows traded from cash in vectorbt: thousands of them as columns of one portfolio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from vectorbt.portfolio.base import Portfolio
from vectorbt.portfolio.enums import SizeType

from mmdrex.data.bars import periods_per_year
from mmdrex.data.costs import Costs
from mmdrex.engines.guard import guard_windows
from strategies.rule import Features, Rule

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

CASH = 100_000.0


class RuleTargets:
    """The targets of a pool's rules in windows of one asset; features are computed once.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5)
    pool : mapping of str to Rule
    """

    def __init__(self, bars: pd.DataFrame, pool: Mapping[str, Rule]) -> None:
        self.bars = bars
        self.pool = pool
        self._features: dict[str, Features] = {}

    def __call__(self, name: str, starts: Rows, window: int) -> Array:
        """Return the targets (M, window) of a rule that starts flat at each of M decision bars."""
        rule = self.pool[name]
        if name not in self._features:
            features = rule.features(self.bars, rule.params)
            # numba is handed a plain view, which takes it a fifth of the time of a recarray.
            self._features[name] = cast("Features", features.view(np.ndarray))
        rows = self._features[name]
        targets = np.empty((len(starts), window))
        for i, start in enumerate(starts.tolist()):
            targets[i] = rule.scan(cast("Features", rows[start : start + window]), rule.params)
        return targets


class Prices:
    """Opens and closes of M windows, their decision bar first: (M, window + 1) each.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5)
    starts : ndarray of int of shape (M,)
        Decision bars.
    window : int
    """

    def __init__(self, bars: pd.DataFrame, starts: Rows, window: int) -> None:
        rows = starts[:, None] + np.arange(window + 1)
        self.open: Array = bars["open"].to_numpy(np.float64)[rows]
        self.close: Array = bars["close"].to_numpy(np.float64)[rows]
        periods = periods_per_year(pd.DatetimeIndex(bars.index))
        self.periods: Array = np.full(len(starts), float(periods))  # bars a year

    @classmethod
    def joined(cls, parts: Sequence[Prices]) -> Prices:
        """Return the windows of all parts, in their order."""
        whole = cls.__new__(cls)
        whole.open = np.concatenate([part.open for part in parts])
        whole.close = np.concatenate([part.close for part in parts])
        whole.periods = np.concatenate([part.periods for part in parts])
        return whole


class Outcomes(NamedTuple):
    """What M windows earned; fractions."""

    returns: Array  # (M, window) simple, per bar
    total: Array  # (M,)
    excess: Array  # (M,) over buying and holding the asset in the same window, at the same costs
    sharpe: Array  # (M,) annualised, 0 at zero volatility
    drawdown: Array  # (M,) largest share of the highest equity lost, positive
    mean_target: Array  # (M,)


def equity_of(prices: Prices, target: Array, costs: Costs) -> Array:
    """Return the equity at the closes after each decision bar, (M, window), from ``CASH``.

    Parameters
    ----------
    prices : Prices of M windows
    target : ndarray of shape (M, window)
        Behind the guard; row i is known after the close of the decision bar plus i, and filled at
        the next open. Marked at the last close: no forced exit.
    costs : Costs
    """
    before = np.concatenate([np.zeros((len(target), 1)), target[:, :-1]], axis=1)
    # Row by row in memory: vectorbt walks the bars of all columns together, twice as fast so.
    size = np.ascontiguousarray(np.where(target != before, target, np.nan).T)
    price = np.ascontiguousarray(prices.open[:, 1:].T)
    close = np.ascontiguousarray(prices.close[:, 1:].T)
    # A target of 0 orders the whole position away: the share of an equity below zero is refused.
    kinds = np.where(size == 0.0, SizeType.TargetAmount, SizeType.TargetPercent)
    portfolio = Portfolio.from_orders(
        pd.DataFrame(close, copy=False),
        size=size,
        size_type=kinds,
        price=price,
        val_price=price,
        fees=costs.fees,
        slippage=costs.slippage,
        init_cash=CASH,
        freq="1D",
        engine="rust",
    )
    # The same sum as its value(), which works it out twice.
    equity: Array = (portfolio.cash().to_numpy() + portfolio.assets().to_numpy() * close).T
    return np.ascontiguousarray(equity)


def outcomes(prices: Prices, raw: Array, costs: Costs) -> Outcomes:
    """Return what windows earn from cash with the raw targets (M, window), behind the guard."""
    target = guard_windows(
        prices.open[:, :-1], prices.close[:, :-1], raw, costs.fees, costs.slippage
    )
    equity = np.concatenate(
        [np.full((len(raw), 1), CASH), equity_of(prices, target, costs)], axis=1
    )
    # What is lost beyond the capital does not compound: -1 where equity ends, then 0.
    gone = np.logical_or.accumulate(equity <= 0.0, axis=1)
    equity[gone] = 0.0
    returns = np.zeros((len(raw), equity.shape[1] - 1))
    alive = ~gone[:, :-1]
    np.divide(equity[:, 1:], equity[:, :-1], out=returns, where=alive)
    returns[alive] -= 1.0
    total = equity[:, -1] / CASH - 1.0
    peak = np.maximum.accumulate(equity, axis=1)
    spread = returns.std(axis=1, ddof=1)
    moves = np.ptp(returns, axis=1) > 0.0
    sharpe = np.zeros(len(raw))
    np.divide(returns.mean(axis=1), spread, out=sharpe, where=moves)
    return Outcomes(
        returns,
        total,
        total - _buy_and_hold(prices, costs),
        sharpe * np.sqrt(prices.periods),
        (1.0 - equity / peak).max(axis=1),
        target.mean(axis=1),
    )


def _buy_and_hold(prices: Prices, costs: Costs) -> Array:
    """Return what all the cash earns that is invested at the first open and never sold."""
    paid = prices.open[:, 1] * (1.0 + costs.slippage) * (1.0 + costs.fees)
    return np.asarray(prices.close[:, -1] / paid - 1.0)
