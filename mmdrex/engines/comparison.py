"""Several ways to trade the same bars in one table: figures, intervals, splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mmdrex.data.bars import periods_per_year
from mmdrex.data.splits import first_earned, overlaps, span_label
from mmdrex.data.windows import decision_bars
from mmdrex.engines.guard import guard, simulate
from mmdrex.engines.planning import Plan, by_symbol, stamps_of, trained_in_all
from mmdrex.evaluation import metrics
from mmdrex.evaluation.intervals import headline_intervals

Array = NDArray[np.float64]
Frames = Mapping[str, pd.DataFrame]

IDLE = 0.005  # yearly volatility below which a run sits in cash and has no Sharpe ratio
_CAPITAL = 100_000.0


@dataclass(frozen=True)
class _Run:
    equity: pd.Series  # from the first decision bar on
    targets: list[Array]  # per asset, from its own first decision bar on
    trained: tuple[str, str] | None
    stamps: Mapping[str, str | None]


def compare(
    rows: Mapping[str, Any],
    bars: pd.DataFrame | Mapping[str, pd.DataFrame],
    fees: float = 0.0,
    slippage: float = 0.0,
    start: str | pd.Timestamp | None = None,
    lookback: int = 100,
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 42,
) -> pd.DataFrame:
    """Return one line of figures per row, all rows started together.

    Every row starts at the first decision bar, ``d0``: row ``98 + lookback``, or the last bar
    before ``start`` if that is later; where a plan starts later still, with it. What targets say
    before ``d0`` is not traded; of a portfolio only the returns after ``d0`` are read.

    Parameters
    ----------
    rows : mapping from a row's name
        To a ``vbt.Portfolio``, a ``Plan``, targets of shape (T,), or for several assets a dict of
        plans or targets by symbol.
    bars : DataFrame of shape (T, 5) or dict of them
        Several assets are sleeves of one portfolio, equal at the start, never rebalanced.
    fees, slippage : float
        Of the rows that are plans or targets; a portfolio has its own.
    start : str or Timestamp, optional
    lookback : int
    level : float
        Of the intervals (stationary bootstrap).
    samples : int
    seed : int

    Returns
    -------
    DataFrame of shape (rows, 12)
        ``TR``, ``Sharpe`` (annualised; NaN for a run that sits in cash), ``MDD``, ``turnover``
        (a year), ``exposure``, low and high ends of the intervals of the first three, and
        ``split``, stamped IN-SAMPLE where a router was trained on the bars, and with what else has
        to be said of a row (``attrs["stamps"]`` of its targets). Fractions throughout; ``attrs``
        holds costs, level and seed.

    Raises
    ------
    ValueError
        If a row does not fit the bars.
    """
    frames = by_symbol(bars)
    first = _starts(rows, frames, start, lookback)
    earns = min(
        first_earned(pd.DatetimeIndex(frame.index), frame.index[first[symbol]])
        for symbol, frame in frames.items()
    )
    lines = {}
    for name, row in rows.items():
        run = _run(name, row, frames, first, fees, slippage)
        lines[name] = _line(run, earns, level, samples, seed)
    table = pd.DataFrame.from_dict(lines, orient="index")
    table.attrs = {"fees": fees, "slippage": slippage, "level": level, "seed": seed}
    return table


def _starts(
    rows: Mapping[str, Any], frames: Frames, start: str | pd.Timestamp | None, lookback: int
) -> dict[str, int]:
    """Return every asset's first decision bar, the latest that a row or the caller wants."""
    first = {}
    for symbol, frame in frames.items():
        own = decision_bars(pd.DatetimeIndex(frame.index), 1, lookback, start)
        if not len(own):
            raise ValueError(f"{symbol} has {len(frame)} bars, none to compare after the warm-up")
        plans = [p for p in (_of(row, symbol) for row in rows.values()) if isinstance(p, Plan)]
        first[symbol] = max([int(own[0]), *(int(frame.index.searchsorted(p.start)) for p in plans)])
    return first


def _of(row: Any, symbol: str) -> Any:
    return row.get(symbol) if isinstance(row, Mapping) else row


def _run(
    name: str, row: Any, frames: Frames, first: Mapping[str, int], fees: float, slippage: float
) -> _Run:
    begin = min(frame.index[first[symbol]] for symbol, frame in frames.items())
    if hasattr(row, "orders"):
        return _portfolio_run(name, row, frames, first, begin)
    if not isinstance(row, Mapping):
        if len(frames) > 1:
            raise ValueError(f"{name!r} needs a dict of targets by symbol, as there are many bars")
        row = {next(iter(frames)): row}
    missing = [symbol for symbol in frames if symbol not in row]
    if missing:
        raise ValueError(f"{name!r} has no targets for {missing[0]!r}; it has {', '.join(row)}")
    sleeves, targets, used = {}, [], []
    stamps: dict[str, str | None] = {}
    for symbol, frame in frames.items():
        given = row[symbol].target if isinstance(row[symbol], Plan) else row[symbol]
        used.append(given)
        stamps |= stamps_of(given)
        target = _from(first[symbol], given, frame)
        equity = simulate(frame, target, fees, slippage, _CAPITAL / len(frames))
        sleeves[symbol] = pd.Series(equity, frame.index)
        targets.append(guard(frame, target, fees, slippage)[first[symbol] :])
    union = pd.DataFrame(sleeves).sort_index().ffill().fillna(_CAPITAL / len(frames))
    return _Run(union.sum(axis=1).loc[begin:], targets, trained_in_all(used), stamps)


def _from(first: int, target: ArrayLike, frame: pd.DataFrame) -> ArrayLike:
    values = np.array(target, dtype=np.float64)
    values[:first] = 0.0
    if isinstance(target, pd.Series):
        return pd.Series(values, index=target.index)
    return values


def _portfolio_run(
    name: str, portfolio: Any, frames: Frames, first: Mapping[str, int], begin: pd.Timestamp
) -> _Run:
    """Return the run of a ``vbt.Portfolio`` over the same bars, its targets read from its fills."""
    if portfolio.wrapper.shape_2d[1] != len(frames):
        raise ValueError(
            f"{name!r} has {portfolio.wrapper.shape_2d[1]} columns for {len(frames)} asset(s); "
            "compare one column of a grid at a time"
        )
    index = portfolio.wrapper.index
    union = pd.DatetimeIndex(sorted(set().union(*(frame.index for frame in frames.values()))))
    if not index.equals(union):
        raise ValueError(f"{name!r} was not run on these bars; their dates differ")
    shape = portfolio.wrapper.shape_2d
    value, cash, assets = (
        np.asarray(table).reshape(shape)
        for table in (portfolio.value(), portfolio.cash(), portfolio.assets())
    )
    targets = []
    for column, (symbol, frame) in enumerate(frames.items()):
        rows = index.get_indexer(frame.index)
        held, opens = assets[rows, column], frame["open"].to_numpy()
        before, idle = np.r_[0.0, held[:-1]], np.r_[value[0, column], cash[rows, column][:-1]]
        with np.errstate(divide="ignore", invalid="ignore"):  # no equity, no target
            filled = held * opens / (idle + before * opens)
        # Known at the close before the fill; unchanged until the next one.
        ordered = pd.Series(np.where(held != before, filled, np.nan)).shift(-1)
        target = ordered.ffill().fillna(0.0).clip(-1.0, 1.0)
        targets.append(target.to_numpy()[first[symbol] :])
    equity = pd.Series(value.sum(axis=1), index)
    trained, stamps = getattr(portfolio, "trained", None), getattr(portfolio, "stamps", {})
    return _Run(equity.loc[begin:], targets, trained, stamps)


def _line(
    run: _Run, earns: pd.Timestamp, level: float, samples: int, seed: int
) -> dict[str, float | str]:
    index = pd.DatetimeIndex(run.equity.index)
    periods = periods_per_year(index)
    returns = metrics.equity_returns(run.equity)
    idle = metrics.volatility(returns, periods) < IDLE
    line: dict[str, float | str] = {
        "TR": metrics.total_return(returns),
        "Sharpe": float("nan") if idle else metrics.sharpe(returns, periods),
        "MDD": metrics.max_drawdown(returns),
        "turnover": float(np.mean([metrics.turnover(t, periods) for t in run.targets])),
        "exposure": float(np.mean([metrics.exposure(t) for t in run.targets])),
    }
    bounds = headline_intervals(returns, periods, level, samples, seed)
    for figure, (low, high) in bounds.items():
        unknown = idle and figure == "Sharpe"
        line[f"{figure} low"] = float("nan") if unknown else low
        line[f"{figure} high"] = float("nan") if unknown else high
    split = span_label(earns, index[-1], periods == 365)
    overlap = run.trained is not None and overlaps(run.trained, earns, index[-1])
    said = [text for text, last in run.stamps.items() if not last or earns <= pd.Timestamp(last)]
    line["split"] = ", ".join([split, *(["IN-SAMPLE"] if overlap else []), *said])
    return line
