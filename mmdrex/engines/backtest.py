"""The main job: plan, trade in one engine, put simpler ways beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from mmdrex.data.bars import periods_per_year
from mmdrex.data.splits import span_label
from mmdrex.data.windows import decision_bars, require_length
from mmdrex.engines.guard import guard
from mmdrex.engines.planning import DecidesWindows, Plan, assemble, plan, rule_features
from mmdrex.engines.trading import Frames, Settings, Targets, simulate_sleeves, total, trade
from mmdrex.errors import TooFewBarsError
from mmdrex.evaluation import metrics
from mmdrex.evaluation.intervals import headline_intervals

Array = NDArray[np.float64]
Producer = Callable[[pd.DataFrame], ArrayLike]
BENCHMARK = "buy-and-hold"


@dataclass(frozen=True)
class Backtest:
    """What a backtest left: everything is from the first decision bar on.

    Attributes
    ----------
    name : str
        The row that was traded in the engine.
    bars : mapping of str to DataFrame
    plans : dict of str to Plan
        Empty where no router decided.
    targets : dict of str to ndarray of shape (T,)
        Of the traded row, by symbol; before the guard.
    sleeves : DataFrame of shape (T, A)
        Equity per asset, net of costs, as the engine says.
    equity : DataFrame of shape (T, n)
        Equity per row of the table, net of costs; the first column is the engine's.
    orders : DataFrame
        As ``mmdrex.audit.records.write_orders`` wants them.
    table : DataFrame
        One line per row and cost setting ("zero", "net").
    gap : float
        Largest relative gap between the engine's equity and the reference simulation.
    split : str
    in_sample : bool
    """

    name: str
    bars: Frames
    plans: dict[str, Plan]
    targets: Targets
    sleeves: pd.DataFrame
    equity: pd.DataFrame
    orders: pd.DataFrame
    table: pd.DataFrame
    gap: float
    split: str
    in_sample: bool


def long_enough(
    frames: Frames, settings: Settings
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Return the assets that hold a decision and its window, and why the others don't.

    Raises
    ------
    TooFewBarsError
        If none does.
    """
    kept, skipped = {}, {}
    for symbol, bars in frames.items():
        try:
            require_length(bars, settings.lookback, settings.window, symbol)
            if settings.start is not None and bars.index[-1] < pd.Timestamp(settings.start):
                raise TooFewBarsError(
                    f"{symbol} ends on {bars.index[-1]:%Y-%m-%d}, before {settings.start}"
                )
        except TooFewBarsError as error:
            skipped[symbol] = str(error)
        else:
            kept[symbol] = bars
    if not kept:
        raise TooFewBarsError(next(iter(skipped.values())))
    return kept, skipped


def decide(
    bars: Frames, router: str | DecidesWindows, settings: Settings, progress: bool = False
) -> dict[str, Plan]:
    """Return the router's plan for every asset, all windows asked in one batch."""
    return plan(
        bars,
        router,
        lookback=settings.lookback,
        window=settings.window,
        start=settings.start,
        weights=settings.weights,
        seed=settings.seed,
        anonymous=settings.anonymous,
        progress=progress,
    )


def backtest(
    bars: Frames,
    source: Mapping[str, Plan] | Producer,
    settings: Settings,
    name: str = "MM-DREX",
    progress: bool = False,
) -> Backtest:
    """Trade assets as sleeves of one portfolio; compare with simpler ways on the same bars.

    Parameters
    ----------
    bars : mapping of str to DataFrame
        Long enough for ``settings``; see ``long_enough``.
    source : mapping of str to Plan, or callable
        What the router planned for each asset, or a function from bars to targets (T,).
    settings : Settings
    name : str
        Of the traded row.
    progress : bool
    """
    plans = {} if callable(source) else dict(source)
    rows = {symbol: _decisions(frame, settings) for symbol, frame in bars.items()}
    first = {symbol: int(row[0]) for symbol, row in rows.items()}
    if callable(source):
        targets = {s: _from(first[s], source(frame)) for s, frame in bars.items()}
    else:
        targets = {symbol: p.target.to_numpy() for symbol, p in plans.items()}
    others = {BENCHMARK: {s: _from(first[s], np.ones(len(f))) for s, f in bars.items()}}
    others |= _simpler_weights(plans, rows, settings)
    sleeves, orders = trade(bars, targets, settings)
    start = min(frame.index[first[symbol]] for symbol, frame in bars.items())
    reference = simulate_sleeves(bars, targets, settings.fees, settings.slippage, settings.cash)
    equity = {name: total(sleeves, start)}
    lines = []
    for row, given in tqdm({name: targets, **others}.items(), "comparing", disable=not progress):
        for costs in ("zero", "net"):
            fees, slippage = (settings.fees, settings.slippage) if costs == "net" else (0.0, 0.0)
            if row != name or costs == "zero":
                simulated = simulate_sleeves(bars, given, fees, slippage, settings.cash)
                curve = total(simulated, start)
            else:
                curve = equity[name]
            if costs == "net":
                equity[row] = curve
            lines.append(_line(row, costs, curve, bars, given, first, (fees, slippage), settings))
    crypto = periods_per_year(sleeves.index) == 365
    return Backtest(
        name=name,
        bars=bars,
        plans=plans,
        targets=targets,
        sleeves=sleeves.loc[start:],
        equity=pd.DataFrame(equity),
        orders=orders,
        table=pd.DataFrame(lines),
        gap=float((sleeves / reference - 1.0).abs().max().max()),
        split=span_label(start, sleeves.index[-1], crypto),
        in_sample=any(p.in_sample for p in plans.values()),
    )


def _decisions(frame: pd.DataFrame, settings: Settings) -> NDArray[np.int64]:
    return decision_bars(frame.index, settings.window, settings.lookback, settings.start)


def _from(first: int, target: ArrayLike) -> Array:
    """Return the target with zeros before the first decision bar: all rows start together."""
    values = np.array(target, dtype=np.float64)
    values[:first] = 0.0
    return values


def _simpler_weights(
    plans: Mapping[str, Plan], rows: Mapping[str, NDArray[np.int64]], settings: Settings
) -> dict[str, dict[str, Array]]:
    """Return the router's rules under uniform weights, and each expert alone."""
    if not plans:
        return {}
    experts = list(next(iter(plans.values())).weights.columns)
    shares = {f"{expert} alone": np.eye(len(experts))[k] for k, expert in enumerate(experts)}
    if settings.weights != "uniform":
        shares = {"uniform weights": np.full(len(experts), 1.0 / len(experts)), **shares}
    result: dict[str, dict[str, Array]] = {name: {} for name in shares}
    for symbol, p in plans.items():
        features = rule_features(p.bars, p.decisions)
        for name, share in shares.items():
            decisions = [replace(decision, weights=share) for decision in p.decisions]
            target, _ = assemble(p.bars.index, rows[symbol].tolist(), decisions, p.window, features)
            result[name][symbol] = target.to_numpy()
    return result


def _line(
    row: str,
    costs: str,
    curve: pd.Series,
    bars: Frames,
    targets: Targets,
    first: Mapping[str, int],
    charged: tuple[float, float],
    settings: Settings,
) -> dict[str, object]:
    """Return one line of the table: figures of a row under one cost setting."""
    periods = periods_per_year(curve.index)
    returns = metrics.equity_returns(curve)
    moves = len(returns) > 1 and np.ptp(returns) > 0.0
    bounds = headline_intervals(returns, periods, seed=settings.seed) if moves else {}
    guarded = {
        symbol: guard(frame, targets[symbol], *charged)[first[symbol] :]
        for symbol, frame in bars.items()
    }
    line: dict[str, object] = {
        "strategy": row,
        "costs": costs,
        "fees": charged[0],
        "slippage": charged[1],
        "TR": metrics.total_return(returns),
        "Sharpe": metrics.sharpe(returns, periods),
        "MDD": metrics.max_drawdown(returns),
        "turnover": np.mean([metrics.turnover(t, periods) for t in guarded.values()]),
        "exposure": np.mean([metrics.exposure(t) for t in guarded.values()]),
    }
    for figure in ("TR", "Sharpe", "MDD"):
        low, high = bounds.get(figure, (np.nan, np.nan))
        line |= {f"{figure} low": low, f"{figure} high": high}
    return line
