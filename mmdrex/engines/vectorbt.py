"""The road into vectorbt: targets as a ``Portfolio``, one column per asset or parameter set."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt
from numpy.typing import ArrayLike, NDArray
from vectorbt.portfolio.enums import SizeType

from mmdrex.data.bars import periods_per_year
from mmdrex.engines.guard import guard
from mmdrex.engines.planning import stamps_of, trained_in_all
from mmdrex.engines.rule_indicators import ATR_BREAKOUT as ATR_BREAKOUT
from mmdrex.engines.rule_indicators import BOLLINGER as BOLLINGER
from mmdrex.engines.rule_indicators import CASH as CASH
from mmdrex.engines.rule_indicators import KDJ as KDJ
from mmdrex.engines.rule_indicators import LONG_ONLY as LONG_ONLY
from mmdrex.engines.rule_indicators import MA_CROSS as MA_CROSS
from mmdrex.engines.rule_indicators import MOMENTUM as MOMENTUM
from mmdrex.engines.rule_indicators import RSI_SWING as RSI_SWING
from mmdrex.engines.rule_indicators import SHORT_ONLY as SHORT_ONLY
from mmdrex.engines.rule_indicators import TURTLE as TURTLE
from mmdrex.engines.rule_indicators import VOLUME_BREAKOUT as VOLUME_BREAKOUT
from strategies.rule import did_you_mean

Array = NDArray[np.float64]
Bars = pd.DataFrame | Mapping[str, pd.DataFrame]
Target = ArrayLike | pd.Series | pd.DataFrame | Mapping[str, ArrayLike]

_OURS = ("size", "size_type", "price", "val_price", "close", "init_cash", "freq")


class TargetPortfolio(vbt.Portfolio):  # type: ignore[misc]  # vectorbt has no types
    """A ``vbt.Portfolio`` of targets; a year has as many days as its calendar trades.

    ``sharpe_ratio()``, ``stats()``, ``returns_stats()`` and ``qs`` annualise by 252 days, or by
    365 where Saturdays occur. ``vbt.settings`` is left alone.

    Attributes
    ----------
    trained : tuple of (str, str) or None
        Training dates of the router whose plan is traded; lost when the portfolio is indexed.
    stamps : dict of str to str or None
        What else has to be said of its figures; see ``mmdrex.engines.planning.stamps_of``.
    """

    trained: tuple[str, str] | None = None
    stamps: Mapping[str, str | None] = MappingProxyType({})

    @property
    def year_freq(self) -> str:
        """Days a year, as vectorbt reads it."""
        return f"{periods_per_year(self.wrapper.index)} days"

    def get_returns_acc(self, *args: Any, year_freq: Any = None, **kwargs: Any) -> Any:
        """Return the returns accessor, with the calendar's days a year unless told otherwise."""
        return super().get_returns_acc(*args, year_freq=year_freq or self.year_freq, **kwargs)

    @property
    def stats_defaults(self) -> dict[str, Any]:
        """Defaults of ``stats()``, with the calendar's days a year."""
        defaults = super().stats_defaults
        settings = {**defaults["settings"], "year_freq": self.year_freq}
        return {**defaults, "settings": settings}

    @property
    def total(self) -> TargetPortfolio:
        """The sum of the assets' sleeves, one column per parameter set if there are several.

        The calendar is the union of the assets' own; a sleeve's last value is carried over the
        days on which its asset does not trade, and it holds cash before the asset is listed.
        """
        columns = self.wrapper.columns
        if isinstance(columns, pd.MultiIndex) and "symbol" in columns.names:
            others = [name for name in columns.names if name != "symbol"]
            if others:
                return self._summed(columns.droplevel("symbol"))
        return self._summed(True)

    def _summed(self, groups: Any) -> TargetPortfolio:
        summed: TargetPortfolio = self.regroup(groups)
        return summed


def vectorbt_portfolio(
    bars: Bars,
    target: Target,
    fees: float = 0.0,
    slippage: float = 0.0,
    cash: float = 100_000.0,
    allocation: Mapping[str, float] | None = None,
    **kwargs: Any,
) -> TargetPortfolio:
    """Return the portfolio that trades targets, each filled at the open of the next bar.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5) or dict of them
        A dict maps symbols to bars; calendars may differ.
    target : array_like, Series, DataFrame or dict
        Signed share of the capital in [-1, 1], known after the close of its bar.
        One asset: shape (T,), or (T, n) with one column per variant, each with all the cash.
        Several assets: a dict from symbol to (T,), or a DataFrame with the symbols as columns or
        as the column level ``symbol``; rows on which an asset has no bar are not read.
    fees : float
        Fraction of an order's value.
    slippage : float
        Fraction of the price.
    cash : float
        Capital of the whole portfolio.
    allocation : dict of str to float, optional
        Shares of the cash per symbol, summing to at most 1; equal unless given. Every asset is a
        sleeve with its own cash, never rebalanced.
    **kwargs
        For ``vbt.Portfolio.from_orders``.

    Returns
    -------
    TargetPortfolio
        Behind the equity guard of ``mmdrex.engines.guard``, which has seen fees and slippage.

    Raises
    ------
    ValueError
        If targets do not fit the bars.
    """
    for name in _OURS:
        if name in kwargs:
            raise TypeError(
                f"vectorbt_portfolio sets {name!r} itself; the target decides the orders"
            )
    frames = {_symbol(bars): bars} if isinstance(bars, pd.DataFrame) else dict(bars)
    columns, targets = _columns(frames, target, isinstance(bars, pd.DataFrame))
    index = _union(frames)
    size, close, price = (np.full((len(index), len(targets)), np.nan) for _ in range(3))
    for column, (symbol, values) in enumerate(targets):
        frame = frames[symbol]
        rows = index.get_indexer(frame.index)
        guarded = guard(frame, values, fees, slippage)
        size[rows[1:], column] = np.where(guarded != np.r_[0.0, guarded[:-1]], guarded, np.nan)[
            :-1
        ]  # decided at the close of t, sent at the next bar of the asset's own calendar
        carried = frame["close"].reindex(index).ffill()
        close[:, column] = carried.fillna(frame["open"].iloc[0])  # no position before the listing
        price[:, column] = np.where(
            np.isin(np.arange(len(index)), rows),
            frame["open"].reindex(index).to_numpy(),
            close[:, column],
        )
    one = columns is None
    wide = pd.DataFrame(close, index=index, columns=columns)
    # A target of 0 orders the whole position away: the share of an equity below zero is refused.
    kinds = np.where(size == 0.0, SizeType.TargetAmount, SizeType.TargetPercent)
    portfolio: TargetPortfolio = TargetPortfolio.from_orders(
        wide.iloc[:, 0].rename(next(iter(frames))) if one else wide,
        size=size[:, 0] if one else size,
        size_type=kinds[:, 0] if one else kinds,
        price=price[:, 0] if one else price,
        val_price=price[:, 0] if one else price,
        fees=fees,
        slippage=slippage,
        init_cash=_sleeves(frames, [symbol for symbol, _ in targets], cash, allocation),
        freq="1D",
        **{"engine": "rust", **kwargs},
    )
    portfolio.trained = trained_in_all(values for _, values in targets)
    portfolio.stamps = {k: v for _, values in targets for k, v in stamps_of(values).items()}
    return portfolio


def _symbol(bars: pd.DataFrame) -> str:
    return str(bars.attrs.get("symbol") or "asset")


def _union(frames: Mapping[str, pd.DataFrame]) -> pd.DatetimeIndex:
    index, *others = (pd.DatetimeIndex(frame.index) for frame in frames.values())
    for other in others:
        index = index.union(other)
    # A business-day frequency makes vectorbt's durations undefined.
    return pd.DatetimeIndex(index.to_numpy())


def _sleeves(
    frames: Mapping[str, pd.DataFrame],
    symbols: list[str],
    cash: float,
    allocation: Mapping[str, float] | None,
) -> float | Array:
    if allocation is None:
        return cash / len(frames)
    for name in allocation:
        if name not in frames:
            raise ValueError(f"no asset {name!r} to allocate to.{did_you_mean(name, frames)}")
    shares = np.array([allocation.get(symbol, 0.0) for symbol in frames])
    if (shares <= 0).any() or shares.sum() > 1.0 + 1e-9:
        raise ValueError(
            f"the allocation must give each of {', '.join(frames)} a positive share, at most 1 in "
            f"all; got {dict(allocation)}"
        )
    return np.array([cash * allocation[symbol] for symbol in symbols])


def _columns(
    frames: Mapping[str, pd.DataFrame], target: Target, single: bool
) -> tuple[pd.Index | None, list[tuple[str, ArrayLike]]]:
    """Return the portfolio's columns (None: one Series) and, for each, symbol and targets."""
    if isinstance(target, Mapping):
        missing = [name for name in frames if name not in target]
        unknown = [name for name in target if name not in frames]
        if single or missing or unknown:
            raise ValueError(
                f"targets are for {', '.join(map(str, target))}, bars for {', '.join(frames)}; "
                "give one target per asset"
            )
        columns = pd.Index(list(frames), name="symbol")
        return columns, [(symbol, target[symbol]) for symbol in frames]
    if isinstance(target, pd.DataFrame):
        return target.columns, [
            (symbol, _own_rows(frames[symbol], target.iloc[:, column]))
            for column, symbol in enumerate(_symbols(frames, target.columns, single))
        ]
    values = target if isinstance(target, pd.Series) else np.asarray(target, dtype=np.float64)
    if not single:
        raise ValueError("several assets need a dict of targets or a DataFrame with their symbols")
    symbol = next(iter(frames))
    if values.ndim == 1:
        return None, [(symbol, values)]
    return pd.RangeIndex(values.shape[1], name="variant"), [(symbol, row) for row in values.T]


def _symbols(frames: Mapping[str, pd.DataFrame], columns: pd.Index, single: bool) -> list[str]:
    if single:
        return [next(iter(frames))] * len(columns)
    names = columns.get_level_values("symbol") if "symbol" in columns.names else columns
    for name in names:
        if name not in frames:
            raise ValueError(
                f"no bars for the target column {name!r}.{did_you_mean(str(name), frames)}"
            )
    left_out = [symbol for symbol in frames if symbol not in set(names)]
    if left_out:
        raise ValueError(f"no target for {left_out[0]!r}; give one per asset")
    return [str(name) for name in names]


def _own_rows(bars: pd.DataFrame, column: pd.Series) -> pd.Series:
    # Targets on the union calendar have rows on which this asset has no bar.
    return column if column.index.equals(bars.index) else column.reindex(bars.index)
