"""ShortOnly: hold a full short position from the first bar (MM-DREX, Algorithm 10)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from strategies.rule import Array, Features, Rule, pack

if TYPE_CHECKING:
    import pandas as pd


class Params(NamedTuple):
    """No parameters."""


class State(NamedTuple):
    """Nothing to remember."""


FLAT = State()


def features(bars: pd.DataFrame, params: Params) -> Features:
    """Return the closes, shape (T,): the rule only asks whether there is a price."""
    return pack(close=bars["close"].to_numpy(np.float64))


@njit(cache=True)
def step(state: State, row: np.record, params: Params) -> tuple[State, float]:
    """Return the state and the target after the close of the bar."""
    if math.isnan(row.close):
        return state, 0.0
    return state, -1.0  # lines 5, 7: SELL, maintain


@njit(cache=True)
def scan(features: Features, params: Params) -> Array:
    """Return the targets, shape (T,), starting flat at the first row."""
    target = np.empty(len(features))
    state = FLAT
    for t in range(len(features)):
        state, target[t] = step(state, features[t], params)
    return target


def describe(params: Params) -> str:
    """Return the sentence the prompt prints."""
    return "Always hold short"


RULE = Rule("short_only", "ShortOnly", Params(), features, FLAT, step, scan, describe)
