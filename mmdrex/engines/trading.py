"""Trading targets as sleeves of one portfolio, in the engine that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.engines.guard import simulate
from strategies.rule import did_you_mean

Array = NDArray[np.float64]
Frames = Mapping[str, pd.DataFrame]
Targets = Mapping[str, Array]
ENGINES = ("backtrader", "vectorbt")


@dataclass(frozen=True)
class Settings:
    """What a backtest is run with.

    Attributes
    ----------
    engine : {"backtrader", "vectorbt"}
    window, lookback : int
        Bars between decisions and bars the router sees; the paper's 90 and 100.
    start : str or None
        The first decision is made on the last bar before it.
    weights : str or None
        Replaces the router's weights; see ``mmdrex.engines.ablations.reweigh``.
    fees, slippage : float
        Fractions of the traded value and of the price.
    cash : float
        Capital of all assets together, in equal sleeves.
    anonymous : bool
    seed : int
        Of random weights and of intervals; the paper's 42.
    """

    engine: str = "backtrader"
    window: int = 90
    lookback: int = 100
    start: str | None = None
    weights: str | None = None
    fees: float = 0.0
    slippage: float = 0.0
    cash: float = 100_000.0
    anonymous: bool = False
    seed: int = 42


def trade(bars: Frames, targets: Targets, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return equity per asset (T, A) and the orders of trading targets in the chosen engine.

    Raises
    ------
    ValueError
        For an engine that does not exist.
    """
    check_engine(settings.engine)
    road = _trade_vectorbt if settings.engine == "vectorbt" else _trade_backtrader
    return road(bars, targets, settings)


def check_engine(name: str) -> None:
    """Raise ValueError unless there is an engine of this name."""
    if name not in ENGINES:
        raise ValueError(
            f"no engine {name!r}; there are {', '.join(ENGINES)}.{did_you_mean(name, ENGINES)}"
        )


def _trade_vectorbt(
    bars: Frames, targets: Targets, settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    from mmdrex.engines.vectorbt import vectorbt_portfolio

    portfolio = vectorbt_portfolio(
        bars, dict(targets), settings.fees, settings.slippage, settings.cash
    )
    records = portfolio.orders.records
    symbols = list(bars)
    orders = pd.DataFrame(
        {
            "date": portfolio.wrapper.index[records["idx"]],
            "symbol": [symbols[column] for column in records["col"]],
            "side": np.where(records["side"] == 0, "buy", "sell"),
            "size": records["size"],
            "price": records["price"],
            "fees": records["fees"],
        }
    )
    equity = portfolio.value()
    return pd.DataFrame(equity.to_numpy(), index=equity.index, columns=symbols), orders


def _trade_backtrader(
    bars: Frames, targets: Targets, settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    from mmdrex.engines.backtrader import TargetStrategy, make_cerebro
    from mmdrex.engines.ledger import Ledger

    cerebro = make_cerebro(bars, settings.cash, settings.fees, settings.slippage)
    series = {symbol: pd.Series(targets[symbol], frame.index) for symbol, frame in bars.items()}
    cerebro.addstrategy(TargetStrategy, target=series)
    cerebro.addanalyzer(Ledger, _name="ledger")
    [run] = cerebro.run(stdstats=False)
    ledger = run.analyzers.ledger
    return _union(ledger.equity, settings.cash / len(bars)), ledger.orders


def simulate_sleeves(
    bars: Frames, targets: Targets, fees: float, slippage: float, cash: float
) -> pd.DataFrame:
    """Return equity per asset (T, A) on the union calendar, by the guard's own simulation."""
    share = cash / len(bars)
    return _union({
        symbol: pd.Series(simulate(frame, targets[symbol], fees, slippage, share), frame.index)
        for symbol, frame in bars.items()
    }, share)  # fmt: skip


def _union(sleeves: Mapping[str, pd.Series], share: float) -> pd.DataFrame:
    # A sleeve is idle before its asset is listed and carries its last value afterwards.
    return pd.DataFrame(dict(sleeves)).sort_index().ffill().fillna(share)


def total(sleeves: pd.DataFrame, start: pd.Timestamp) -> pd.Series:
    """Return the sum of the sleeves from the first decision bar on."""
    return sleeves.loc[start:].sum(axis=1)
