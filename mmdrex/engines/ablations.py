"""The router's weights replaced by something simpler, everything else left as it is (Table 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mmdrex.data.bars import periods_per_year
from mmdrex.data.splits import split_of
from mmdrex.observation.observation import Observation
from mmdrex.router.decision import Decision
from strategies.rule import Features, Rule, did_you_mean

Array = NDArray[np.float64]
Weights = str | Callable[[Observation], ArrayLike]

ABLATIONS = ("uniform", "random", "best_expert")
_SUM_TOLERANCE = 1e-6


def check_weights(weights: Weights | None) -> None:
    """Raise unless ``weights`` is None, a name in ``ABLATIONS`` or a callable.

    Raises
    ------
    ValueError
        For an unknown name.
    TypeError
        For anything else that cannot be called.
    """
    if weights is None or callable(weights):
        return
    if not isinstance(weights, str):
        raise TypeError(
            f"weights must be one of {', '.join(ABLATIONS)} or a function of an observation, "
            f"not {type(weights).__name__}"
        )
    if weights not in ABLATIONS:
        raise ValueError(
            f"no weights {weights!r}; there are {', '.join(ABLATIONS)} or a function of an "
            f"observation.{did_you_mean(weights, ABLATIONS)}"
        )


def reweigh(
    bars: pd.DataFrame,
    observations: Sequence[Observation],
    decisions: Sequence[Decision],
    weights: Weights,
    window: int,
    pool: Mapping[str, Rule],
    features: Mapping[str, Features],
    seed: int = 42,
) -> list[Decision]:
    """Return the decisions of one asset with the router's weights replaced, rules untouched.

    What a decision becomes depends on bars up to its own only, so a live engine may call this
    with what it has so far and read the last one.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5)
    observations, decisions : sequences of equal length
        In order of time, from the asset's first window on.
    weights : {"uniform", "random", "best_expert"} or callable
        ``"random"`` draws from the flat Dirichlet with a seed made of ``seed``, symbol and time.
        ``"best_expert"`` gives everything to the expert that grew most, trading its own chosen
        rules, in the windows that had ended by the decision bar and lie in the training split;
        after that split it is therefore one fixed expert. A tie goes to the first expert;
        before any window has ended the weights are uniform.
        A callable takes the observation and returns (K,) shares that sum to 1.
    window : int
    pool, features : mappings from a rule's name
    seed : int

    Returns
    -------
    list of Decision
        ``model`` says what replaced the weights.
    """
    if callable(weights):
        name = getattr(weights, "__name__", type(weights).__name__)
        new = [
            _checked(weights(observation), len(decision.rules))
            for observation, decision in zip(observations, decisions, strict=True)
        ]
    else:
        name = weights
        if weights == "uniform":
            new = [_uniform(decision) for decision in decisions]
        elif weights == "random":
            new = [_random(decision, seed) for decision in decisions]
        else:
            new = _best_expert(bars, decisions, window, pool, features)
    return [
        replace(decision, weights=array, model=f"{decision.model} with weights {name}")
        for decision, array in zip(decisions, new, strict=True)
    ]


def _checked(weights: ArrayLike, experts: int) -> Array:
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (experts,):
        raise ValueError(f"weights must have shape ({experts},), the function gave {array.shape}")
    if not (array >= 0).all() or abs(array.sum() - 1.0) > _SUM_TOLERANCE:
        raise ValueError(
            f"weights must be non-negative and sum to 1, the function gave {array.tolist()}"
        )
    return array


def _uniform(decision: Decision) -> Array:
    return np.full(len(decision.rules), 1.0 / len(decision.rules))


def _random(decision: Decision, seed: int) -> Array:
    # Seeded per decision: the draw may not depend on how many windows came before.
    key = f"{seed} {decision.symbol} {decision.time.isoformat()}".encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
    return np.random.default_rng(number).dirichlet(np.ones(len(decision.rules)))


def _best_expert(
    bars: pd.DataFrame,
    decisions: Sequence[Decision],
    window: int,
    pool: Mapping[str, Rule],
    features: Mapping[str, Features],
) -> list[Array]:
    # Paper silent: what "best" is measured by; here the growth over training windows, no costs.
    index = pd.DatetimeIndex(bars.index)
    crypto = periods_per_year(index) == 365
    times = pd.DatetimeIndex([decision.time for decision in decisions])
    starts: list[int] = index.get_indexer(times).tolist()
    growth = [
        expert_growth(bars, decision, start, window, pool, features)
        if start + window < len(bars) and split_of(index[start + window], crypto) == "train"
        else None
        for decision, start in zip(decisions, starts, strict=True)
    ]
    weights = []
    for decision, start in zip(decisions, starts, strict=True):
        ended = [
            grown
            for grown, before in zip(growth, starts, strict=True)
            if grown is not None and before + window <= start
        ]
        if ended:
            one_hot = np.zeros(len(decision.rules))
            one_hot[int(np.argmax(np.sum(ended, axis=0)))] = 1.0
            weights.append(one_hot)
        else:
            weights.append(_uniform(decision))
    return weights


def expert_growth(
    bars: pd.DataFrame,
    decision: Decision,
    start: int,
    window: int,
    pool: Mapping[str, Rule],
    features: Mapping[str, Features],
) -> Array:
    """Return each expert's log growth over one whole window, from cash, without costs.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5)
    decision : Decision
    start : int
        Index of the decision bar; the window's fills are at the opens of ``start + 1`` on, and it
        is marked at the close of ``start + window``.
    window : int
    pool, features : mappings from a rule's name

    Returns
    -------
    ndarray of shape (K,)
        Minus infinity for an expert that lost everything.
    """
    prices = bars["open"].to_numpy()[start + 1 : start + window + 1]
    ends = np.append(prices[1:], bars["close"].to_numpy()[start + window])
    growth = []
    for rule in decision.rules.values():
        rows = cast("Features", features[rule][start : start + window])
        target = pool[rule].scan(rows, pool[rule].params)
        equity = np.maximum(1.0 + target * (ends / prices - 1.0), 0.0)
        with np.errstate(divide="ignore"):  # a bankrupt expert has log growth -inf
            growth.append(float(np.log(equity).sum()))
    return np.array(growth)
