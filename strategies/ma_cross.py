"""MACross: ride the crossing of two moving averages (MM-DREX, Algorithm 1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from strategies import indicators
from strategies.position import FLAT as NO_POSITION
from strategies.position import Position, added, opened
from strategies.rule import Array, Features, Rule, pack

if TYPE_CHECKING:
    import pandas as pd

TREND_BARS = 5  # line 4: P(t - 5)
ENTRY_TREND = 0.03  # line 6
STRONG_TREND = 0.05  # line 12


class Params(NamedTuple):
    """Parameters of Algorithm 1, line 1."""

    f: int = 5  # bars of the fast moving average
    s: int = 20  # bars of the slow moving average
    a: int = 14  # bars of the ATR
    m: float = 1.5  # stop distance, multiples of ATR
    L: int = 4  # layers at most
    gamma: float = 0.02  # trend strength threshold, also the spread of line 6
    paper_literal: bool = False  # the spread of line 6 without its sign


class State(NamedTuple):
    """The position, and how much this trade has widened its stop."""

    position: Position = NO_POSITION
    widening: float = 1.0


FLAT = State()


def features(bars: pd.DataFrame, params: Params) -> Features:
    """Return what line 4 computes, shape (T,), known after each close; NaN until warm."""
    high, low, close = (bars[name].to_numpy(np.float64) for name in ("high", "low", "close"))
    fast, slow = indicators.sma(close, params.f), indicators.sma(close, params.s)
    return pack(
        close=close,
        fast=fast,
        slow=slow,
        previous_fast=indicators.previous(fast),
        previous_slow=indicators.previous(slow),
        atr=indicators.atr(high, low, close, params.a),
        trend=indicators.change(close, TREND_BARS),
        recent_high=indicators.previous(indicators.highest(high, params.s)),
        recent_low=indicators.previous(indicators.lowest(low, params.s)),
    )


@njit(cache=True)
def crossed(row: np.record) -> int:
    """Return 1 where the fast average crosses above the slow one, -1 below, else 0."""
    if row.previous_fast <= row.previous_slow and row.fast > row.slow:
        return 1
    if row.previous_fast >= row.previous_slow and row.fast < row.slow:
        return -1
    return 0


@njit(cache=True)
def adds(side: int, row: np.record, gamma: float) -> bool:
    """Return whether a layer is added: a recent breakout, diverging averages, or a pullback."""
    # Paper silent: the three signals of line 15 have no formula; any one of these will do.
    breakout = row.close > row.recent_high if side == 1 else row.close < row.recent_low
    spread = side * (row.fast - row.slow)
    widens = spread > side * (row.previous_fast - row.previous_slow)
    diverges = spread > gamma * row.slow and widens
    pullback = side * (row.close - row.fast) <= 0.0 and side * (row.close - row.slow) > 0.0
    return bool(breakout or diverges or (pullback and spread > 0.0))


@njit(cache=True)
def entry_side(row: np.record, params: Params) -> int:
    """Return 1 to buy, -1 to sell, 0 to wait."""
    spread = row.fast - row.slow
    # Paper: |spread| > 2 % buys a falling market too; read with its sign unless paper_literal.
    if params.paper_literal:
        spread = abs(spread)
    cross = crossed(row)
    if cross == 1 or spread > params.gamma * row.slow or row.trend > ENTRY_TREND:  # line 6
        return 1
    if cross == -1 and row.trend < -params.gamma:  # line 8
        return -1
    return 0


@njit(cache=True)
def step(state: State, row: np.record, params: Params) -> tuple[State, float]:
    """Return the state and the target after the close of the bar."""
    averages = row.fast + row.slow + row.previous_fast + row.previous_slow
    if math.isnan(averages + row.close + row.atr + row.trend + row.recent_high + row.recent_low):
        return state, 0.0
    position, widening = state.position, state.widening
    if position.direction == 0:  # line 5
        side = entry_side(row, params)  # lines 6, 8
        if side != 0:
            position = opened(side, 1, row.close)  # lines 7, 9: BUY, SELL
            widening = 1.0
    else:
        side = position.direction  # Paper silent: exits of a short; mirrored
        trend = side * row.trend
        # Paper silent: how long m <- m x 1.5 lasts. Until the trade ends, and it does not compound:
        # within one bar it could never act, since line 13 needs a trend below -gamma.
        if trend > STRONG_TREND:
            widening = max(widening, 1.5)  # line 12
        elif trend > params.gamma:
            widening = max(widening, 1.2)  # line 12
        stop = -params.m * widening * row.atr  # line 12, relative to the average entry price
        if side * (row.close - position.entry) < stop and trend < -params.gamma:  # line 13
            position = NO_POSITION  # line 14: CLOSE
        elif position.layers < params.L and adds(side, row, params.gamma):  # line 15
            position = added(position, row.close)  # line 16: add
        if crossed(row) == -side and trend < -params.gamma:  # line 18
            position = NO_POSITION  # line 19: CLOSE
    return State(position, widening), position.direction * position.layers / params.L


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
    averages = f"{params.f}-day/{params.s}-day MA"
    return f"Moving-average crossover strategy ({averages} golden-cross / death-cross)"


RULE = Rule("ma_cross", "MACross", Params(), features, FLAT, step, scan, describe)
