"""Turtle: trade Donchian breakouts in units sized by volatility (MM-DREX, Algorithm 3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from strategies import indicators
from strategies.rule import Array, Features, Rule, pack

if TYPE_CHECKING:
    import pandas as pd

RISK = 0.01  # Paper silent: a unit loses 1 % of the capital when price moves by one ATR
STEP = 0.5  # Paper silent: a unit is added every half ATR
PROFIT = 0.10  # line 15


class Params(NamedTuple):
    """Parameters of Algorithm 3, line 1."""

    n_entry: int = 20  # bars of the entry channel
    n_exit: int = 10  # bars of the exit channel
    n_atr: int = 20  # bars of the ATR
    m: float = 2.0  # stop distance, multiples of ATR
    U: int = 5  # units at most


class State(NamedTuple):
    """An open turtle position; all zero when flat."""

    direction: int = 0  # 1 long, -1 short
    units: int = 0
    exposure: float = 0.0  # sum of the units, share of capital, before the cap at 1
    entry: float = 0.0  # average price of the units
    last: float = 0.0  # price of the unit added last
    taken: int = 0  # 1 once profit was taken


FLAT = State()


def features(bars: pd.DataFrame, params: Params) -> Features:
    """Return the channels, the ATR and a unit's size, shape (T,), known after each close.

    NaN until warm. The channels exclude the bar itself: they are what its close is held against.
    """
    high, low, close = (bars[name].to_numpy(np.float64) for name in ("high", "low", "close"))
    atr = indicators.atr(high, low, close, params.n_atr)
    return pack(
        close=close,
        entry_high=indicators.previous(indicators.highest(high, params.n_entry)),
        entry_low=indicators.previous(indicators.lowest(low, params.n_entry)),
        exit_high=indicators.previous(indicators.highest(high, params.n_exit)),
        exit_low=indicators.previous(indicators.lowest(low, params.n_exit)),
        atr=atr,
        unit=RISK * indicators.ratio(close, atr),  # line 7
    )


@njit(cache=True)
def managed(state: State, row: np.record, params: Params) -> State:
    """Return the state of an open position after the bar: profit taken, closed or added to."""
    side = state.direction  # Paper silent: management of a short; mirrored
    units, exposure, taken = state.units, state.exposure, state.taken
    gain = side * (row.close - state.entry)
    # Paper silent: how much profit, how often. One unit, once a trade; none is added after.
    if taken == 0 and gain > PROFIT * state.entry and units > 1:  # line 15
        exposure -= exposure / units  # line 16: take profit
        units -= 1
        taken = 1
    # Paper silent: "dynamic m"; m times the ATR of the day, from the price of the last unit.
    stopped = side * (row.close - state.last) < -params.m * row.atr  # line 13
    left = row.close < row.exit_low if side == 1 else row.close > row.exit_high
    if left or stopped:  # line 18
        return FLAT  # line 19: CLOSE
    advance = side * (row.close - state.last)
    if taken == 0 and units < params.U and advance > STEP * row.atr:  # line 20
        entry = (state.entry * units + row.close) / (units + 1)
        return State(side, units + 1, exposure + row.unit, entry, row.close, 0)  # line 21: add
    return State(side, units, exposure, state.entry, state.last, taken)


@njit(cache=True)
def step(state: State, row: np.record, params: Params) -> tuple[State, float]:
    """Return the state and the target after the close of the bar."""
    channels = row.entry_high + row.entry_low + row.exit_high + row.exit_low
    if math.isnan(channels + row.close + row.atr + row.unit):
        return state, 0.0
    if state.direction != 0:
        state = managed(state, row, params)  # lines 13-22
    elif row.close > row.entry_high:  # line 6
        state = State(1, 1, row.unit, row.close, row.close, 0)  # line 8: BUY
    elif row.close < row.entry_low:  # line 9
        state = State(-1, 1, row.unit, row.close, row.close, 0)  # line 10: SELL
    return state, state.direction * min(1.0, state.exposure)


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
    return f"Turtle trading strategy ({params.n_entry}-day high/low breakout)"


RULE = Rule("turtle", "Turtle", Params(), features, FLAT, step, scan, describe)
