"""The main job: plan, trade in one engine, put simpler ways beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mmdrex.data.windows import decision_bars, require_length
from mmdrex.engines.comparison import compare
from mmdrex.engines.planning import DecidesWindows, Plan, assemble, plan, rule_features
from mmdrex.engines.trading import Frames, Settings, Targets, simulate_sleeves, total, trade
from mmdrex.errors import TooFewBarsError

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
    plans : mapping of str to Plan
        Empty where no router decided.
    targets : mapping of str to ndarray of shape (T,)
        Of the traded row, by symbol; before the guard.
    sleeves : DataFrame of shape (T, A)
        Equity per asset, net of costs, as the engine says.
    equity : DataFrame of shape (T, n)
        Equity per row of the table, net of costs; the first column is the engine's.
    orders : DataFrame
        As ``mmdrex.audit.records.write_orders`` wants them.
    zero, net : DataFrame of shape (n, 12)
        The table at zero costs and net of costs; see ``mmdrex.engines.comparison.compare``.
    gap : float
        Largest relative gap between the engine's equity and the simulation behind the table.
    split : str
    in_sample : bool
    stamps : tuple of str
        What else the traded row's figures must say, such as "NO NEWS".
    """

    name: str
    bars: Frames
    plans: Mapping[str, Plan]
    targets: Targets
    sleeves: pd.DataFrame
    equity: pd.DataFrame
    orders: pd.DataFrame
    zero: pd.DataFrame
    net: pd.DataFrame
    gap: float
    split: str
    in_sample: bool
    stamps: tuple[str, ...] = ()


def long_enough(
    frames: Frames, settings: Settings
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Return the assets that hold a decision and its window, and why the others don't.

    Raises
    ------
    TooFewBarsError
        If none does.
    """
    kept: dict[str, pd.DataFrame] = {}
    skipped: dict[str, str] = {}
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
    """
    first = {symbol: int(_decisions(frame, settings)[0]) for symbol, frame in bars.items()}
    start = min(frame.index[first[symbol]] for symbol, frame in bars.items())
    plans = {} if callable(source) else source
    rows: dict[str, Mapping[str, Plan | ArrayLike]] = {}
    rows[name] = {s: source(f) for s, f in bars.items()} if callable(source) else plans
    rows[BENCHMARK] = {symbol: np.ones(len(frame)) for symbol, frame in bars.items()}
    rows |= _simpler_weights(plans, settings)
    targets = {
        row: {symbol: _from(first[symbol], given[symbol]) for symbol in bars}
        for row, given in rows.items()
    }
    costs = (settings.fees, settings.slippage)
    sleeves, orders = trade(bars, targets[name], settings)
    simulated = {
        row: simulate_sleeves(bars, given, *costs, settings.cash) for row, given in targets.items()
    }
    table = {
        charged: compare(
            rows, bars, *charged, settings.start, settings.lookback, seed=settings.seed
        )
        for charged in ((0.0, 0.0), costs)
    }
    equity = {row: total(of_assets, start) for row, of_assets in simulated.items()}
    equity[name] = total(sleeves, start)
    split, *stamps = str(table[costs].loc[name, "split"]).split(", ")
    return Backtest(
        name=name,
        bars=bars,
        plans=plans,
        targets=targets[name],
        sleeves=sleeves.loc[start:],
        equity=pd.DataFrame(equity),
        orders=orders,
        zero=table[0.0, 0.0],
        net=table[costs],
        gap=_gap(sleeves, simulated[name]),
        split=split,
        in_sample=any(p.in_sample for p in plans.values())
        or "IN-SAMPLE" in stamps,  # a fitted baseline's targets
        stamps=tuple(text for text in stamps if text != "IN-SAMPLE"),
    )


def _decisions(frame: pd.DataFrame, settings: Settings) -> NDArray[np.int64]:
    index = pd.DatetimeIndex(frame.index)
    return decision_bars(index, settings.window, settings.lookback, settings.start)


def _from(first: int, source: Plan | ArrayLike) -> Array:
    """Return the targets with zeros before the first decision bar: all rows start together."""
    values = np.array(source.target if isinstance(source, Plan) else source, dtype=np.float64)
    values[:first] = 0.0
    return values


def _gap(engine: pd.DataFrame, simulated: pd.DataFrame) -> float:
    """Return the largest relative gap between two equity tables (T, A); a ruined sleeve ends."""
    alive = simulated.to_numpy() > 0.0
    ratio = engine.to_numpy()[alive] / simulated.to_numpy()[alive]
    return float(np.abs(ratio - 1.0).max())


def _simpler_weights(
    plans: Mapping[str, Plan], settings: Settings
) -> dict[str, dict[str, Plan | ArrayLike]]:
    """Return the router's rules under uniform weights, and each expert alone."""
    if not plans:
        return {}
    experts = list(next(iter(plans.values())).weights.columns)
    shares = {f"{expert} alone": np.eye(len(experts))[k] for k, expert in enumerate(experts)}
    if settings.weights != "uniform":
        shares = {"uniform weights": np.full(len(experts), 1.0 / len(experts)), **shares}
    result: dict[str, dict[str, Plan | ArrayLike]] = {name: {} for name in shares}
    for symbol, p in plans.items():
        index = pd.DatetimeIndex(p.bars.index)
        rows = _decisions(p.bars, settings).tolist()
        features = rule_features(p.bars, p.decisions)
        for name, share in shares.items():
            decisions = [replace(decision, weights=share) for decision in p.decisions]
            target, weights = assemble(index, rows, decisions, p.window, features)
            target.attrs = p.target.attrs
            result[name][symbol] = replace(p, target=target, weights=weights, decisions=decisions)
    return result
