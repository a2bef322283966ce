"""Ask the router once for every window of every asset; blend its experts into targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.data.bars import validate_bars
from mmdrex.data.splits import asset_class
from mmdrex.data.windows import decision_bars, require_length
from mmdrex.engines.ablations import Weights, check_weights, reweigh
from mmdrex.engines.planned import Plan as Plan
from mmdrex.observation.observation import Observation, Observer
from mmdrex.router.decision import Decision
from strategies import EXPERTS, POOL
from strategies.rule import Features, Rule, did_you_mean

Array = NDArray[np.float64]
Experts = Mapping[str, Sequence[str]]


class DecidesWindows(Protocol):
    """What a plan needs of a router."""

    def decide(self, observations: Sequence[Observation], progress: bool = ...) -> list[Decision]:
        """Return one decision per observation, in order."""


def blend(
    features: Mapping[str, Features],
    decision: Decision,
    start: int,
    stop: int,
    pool: Mapping[str, Rule] = POOL,
) -> Array:
    """Return the targets of one window: the chosen rules' targets, weighted and summed.

    Parameters
    ----------
    features : mapping of str to recarray of shape (T,)
        Every chosen rule's features over the full history.
    decision : Decision
    start, stop : int
        The window's first row and the one after its last; the rules start flat at ``start``.
    pool : mapping of str to Rule

    Returns
    -------
    ndarray of shape (stop - start,)
        Signed share of the capital in [-1, 1]; row i is known after the close of ``start + i``.
    """
    # Paper: eq. E.2 mixes policies, the text blends capital; we blend targets.
    target = np.zeros(stop - start)
    for weight, name in zip(decision.weights, decision.rules.values(), strict=True):
        rows = cast("Features", features[name][start:stop])
        target += weight * pool[name].scan(rows, pool[name].params)
    # Float weights can sum to 1 + 2e-16.
    return np.clip(target, -1.0, 1.0)


@overload
def plan(bars: pd.DataFrame, router: str | DecidesWindows = ..., **settings: Any) -> Plan: ...
@overload
def plan(
    bars: Mapping[str, pd.DataFrame], router: str | DecidesWindows = ..., **settings: Any
) -> dict[str, Plan]: ...
def plan(  # type: ignore[misc]  # the overloads leave the settings to this signature
    bars: pd.DataFrame | Mapping[str, pd.DataFrame],
    router: str | DecidesWindows = "tiny",
    *,
    lookback: int = 100,
    window: int = 90,
    start: str | pd.Timestamp | None = None,
    weights: Weights | None = None,
    seed: int = 42,
    pool: Mapping[str, Rule] | None = None,
    experts: Experts | None = None,
    anonymous: bool = False,
    progress: bool = False,
) -> Plan | dict[str, Plan]:
    """Return the targets MM-DREX trades, with the decisions behind them.

    The decision bars are ``d0 + j * window``. All windows of all assets go to the router in one
    batch. A window's rules start flat at its decision bar, with indicators on the full history;
    the target is 0 before ``d0``.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5) or dict of them
        Open, high, low, close, volume; a dict maps symbols to bars.
    router : str or router
        A name, folder or hub id for ``Router.from_pretrained``, or a router.
    lookback : int
        Bars an observation shows. The paper's T_in, 100.
    window : int
        Bars between decisions. The paper's T_pred, 90.
    start : str or Timestamp, optional
        The first decision is made on the last bar before it; earlier bars are warm-up.
    weights : {"uniform", "random", "best_expert"} or callable, optional
        Replaces the router's weights and nothing else; see ``mmdrex.engines.ablations.reweigh``.
    seed : int
        Of ``weights="random"``. The paper's seed, 42.
    pool : mapping of str to Rule, optional
        The rules; ``strategies.POOL`` unless given.
    experts : mapping of str to sequence of str, optional
        Every expert's rules; ``strategies.EXPERTS`` unless given.
    anonymous : bool
        Hide symbol, dates and price level from the router.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Plan or dict of str to Plan

    Raises
    ------
    BarsError
        If bars are faulty or shorter than ``lookback + 99 + window``.
    ValueError
        If the router was trained on other experts or rules than these.
    """
    check_weights(weights)
    single = isinstance(bars, pd.DataFrame)
    frames = {symbol: validate_bars(frame, symbol) for symbol, frame in by_symbol(bars).items()}
    indexes = {symbol: pd.DatetimeIndex(frame.index) for symbol, frame in frames.items()}
    for symbol, frame in frames.items():
        require_length(frame, lookback, window, symbol)
    pool = POOL if pool is None else pool
    experts = EXPERTS if experts is None else experts
    model = load_router(router)
    check_pool(model, pool, experts)
    rows, observations = {}, {}
    for symbol, frame in frames.items():
        rows[symbol] = _asked_rows(indexes[symbol], window, lookback, start, weights)
        observer = Observer(frame, symbol, lookback, pool, anonymous, experts)
        observations[symbol] = [observer.at(row) for row in rows[symbol]]
    batch = [observation for some in observations.values() for observation in some]
    answers = iter(model.decide(batch, progress=True) if progress else model.decide(batch))
    plans = {}
    for symbol, frame in frames.items():
        decisions = [next(answers) for _ in rows[symbol]]
        features = rule_features(frame, decisions, pool)
        if weights is not None:
            decisions = reweigh(
                frame, observations[symbol], decisions, weights, window, pool, features, seed
            )
        traded = decision_bars(indexes[symbol], window, lookback, start).tolist()
        decisions = decisions[-len(traded) :]
        target, table = assemble(indexes[symbol], traded, decisions, window, features, pool)
        trained = getattr(model, "trained", {}).get(asset_class(frame.index))
        target.attrs["trained"] = trained
        target.attrs["stamps"] = getattr(model, "stamps", {})
        plans[symbol] = Plan(frame, symbol, target, table, decisions, window, trained)
    return next(iter(plans.values())) if single else plans


def by_symbol(bars: pd.DataFrame | Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return bars by symbol; one DataFrame goes under ``attrs["symbol"]``, or "asset"."""
    if isinstance(bars, pd.DataFrame):
        return {str(bars.attrs.get("symbol") or "asset"): bars}
    return dict(bars)


def trained_on(target: object) -> tuple[str, str] | None:
    """Return the training dates that came with a plan's target, None where none did."""
    attrs = target.attrs if isinstance(target, pd.Series) else {}
    dates: tuple[str, str] | None = attrs.get("trained")
    return dates


def trained_in_all(targets: Iterable[object]) -> tuple[str, str] | None:
    """Return the first and the last training date that came with any of the targets."""
    dates = [found for target in targets if (found := trained_on(target)) is not None]
    if not dates:
        return None
    return min(first for first, _ in dates), max(last for _, last in dates)


def stamps_of(target: object) -> dict[str, str | None]:
    """Return what has to be said of figures from a target, each with the last day it holds for.

    None holds for all days: ``{"NO NEWS": None}``.
    """
    attrs = target.attrs if isinstance(target, pd.Series) else {}
    stamps: dict[str, str | None] = attrs.get("stamps", {})
    return stamps


def load_router(router: str | DecidesWindows) -> DecidesWindows:
    """Return the router a name, folder or hub id stands for; a router is returned as it is."""
    if not isinstance(router, str):
        return router
    from mmdrex.router.router import Router  # torch and transformers take seconds to import

    loaded: DecidesWindows = Router.from_pretrained(router)
    return loaded


def check_pool(router: DecidesWindows, pool: Mapping[str, Rule], experts: Experts) -> None:
    """Raise unless every expert's rules are in the pool and are those the router knows.

    Raises
    ------
    ValueError
        Naming the missing rule, or the difference between the router's experts and these.
    """
    for expert, names in experts.items():
        for name in names:
            if name not in pool:
                raise ValueError(
                    f"expert {expert!r} has the rule {name!r}, which is not in the pool."
                    f"{did_you_mean(name, pool)}"
                )
    traded = {name for names in experts.values() for name in names}
    for name in pool:
        if name not in traded and name not in POOL:
            raise ValueError(f"the rule {name!r} of the pool belongs to no expert; add it to one")
    known = getattr(router, "rules", None)
    if known is None:  # a router of the user's own, which records no rules
        return
    ours = {expert: tuple(names) for expert, names in experts.items()}
    theirs = {expert: tuple(names) for expert, names in known.items()}
    if list(ours.items()) == list(theirs.items()):
        return
    differences = [
        f"{expert}: the router has {_listed(theirs.get(expert))}, given {_listed(ours.get(expert))}"
        for expert in {**theirs, **ours}
        if theirs.get(expert) != ours.get(expert)
    ] or [f"experts in another order: {', '.join(theirs)}, given {', '.join(ours)}"]
    raise ValueError(
        f"the router was trained on another pool ({'; '.join(differences)}); leave pool and "
        "experts out, or take an untrained one: Router.from_pretrained(name, experts=experts)"
    )


def _listed(names: Sequence[str] | None) -> str:
    return "no such expert" if names is None else " ".join(names)


def _asked_rows(
    index: pd.DatetimeIndex,
    window: int,
    lookback: int,
    start: str | pd.Timestamp | None,
    weights: Weights | None,
) -> list[int]:
    traded: list[int] = decision_bars(index, window, lookback, start).tolist()
    if weights != "best_expert":
        return traded
    # The best expert of the training split is known from windows before the first traded one.
    earlier: list[int] = decision_bars(index, window, lookback).tolist()
    return [row for row in earlier if row + window <= traded[0]] + traded


def rule_features(
    bars: pd.DataFrame, decisions: Sequence[Decision], pool: Mapping[str, Rule] = POOL
) -> dict[str, Features]:
    """Return the features (T,) over all of ``bars`` of every rule some decision chose."""
    names = sorted({name for decision in decisions for name in decision.rules.values()})
    return {name: pool[name].features(bars, pool[name].params) for name in names}


def assemble(
    index: pd.DatetimeIndex,
    rows: Sequence[int],
    decisions: Sequence[Decision],
    window: int,
    features: Mapping[str, Features],
    pool: Mapping[str, Rule] = POOL,
) -> tuple[pd.Series, pd.DataFrame]:
    """Return the targets (T,) and the weights (T, K) of consecutive windows.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    rows : sequence of int
        The decision bars.
    decisions : sequence of Decision
        One per row.
    window : int
        The last window ends with the index.
    features, pool : mappings from a rule's name
    """
    target = np.zeros(len(index))
    weights = np.zeros((len(index), len(decisions[0].rules)))
    for row, decision in zip(rows, decisions, strict=True):
        stop = min(row + window, len(index))
        target[row:stop] = blend(features, decision, row, stop, pool)
        weights[row:stop] = decision.weights
    return (
        pd.Series(target, index=index, name="target"),
        pd.DataFrame(weights, index=index, columns=list(decisions[0].rules)),
    )
