"""Bollinger: fade a close outside the bands until the middle is reached (MM-DREX, Algorithm 4)."""

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

# Paper silent: periods of momentum, RSI and volume ratio, and what counts as oversold. Taken from
# where the paper uses them: 5 bars and 2 % (Algorithm 1), 35 (Algorithm 5), 1.2 (Algorithm 2).
MOMENTUM_BARS = 5
FALL = 0.02
RSI_BARS = 14
OVERSOLD = 35.0
VOLUME_BARS = 5
BUSY = 1.2
WAIT = 5  # Paper silent: bars after which "time" alone is an add signal


class Params(NamedTuple):
    """Parameters of Algorithm 4, line 1."""

    n: int = 20  # bars of the moving average
    k: float = 1.8  # band width, multiples of the standard deviation
    n_atr: int = 14  # bars of the ATR
    m: float = 1.8  # stop distance, multiples of ATR
    L: int = 3  # layers at most


class State(NamedTuple):
    """The position, and the bars since its last layer."""

    position: Position = NO_POSITION
    age: int = 0


FLAT = State()


def features(bars: pd.DataFrame, params: Params) -> Features:
    """Return what line 4 calculates, shape (T,), known after each close; NaN until warm."""
    high, low, close, volume = (
        bars[name].to_numpy(np.float64) for name in ("high", "low", "close", "volume")
    )
    upper, middle, lower = indicators.bollinger(close, params.n, params.k)
    return pack(
        close=close,
        upper=upper,
        middle=middle,
        lower=lower,
        previous_close=indicators.previous(close),
        previous_upper=indicators.previous(upper),
        previous_lower=indicators.previous(lower),
        atr=indicators.atr(high, low, close, params.n_atr),
        rsi=indicators.rsi(close, RSI_BARS),
        momentum=indicators.change(close, MOMENTUM_BARS),
        volume_ratio=indicators.volume_ratio(volume, VOLUME_BARS),
    )


@njit(cache=True)
def oversold_score(side: int, row: np.record) -> int:
    """Return how many of three signals call the market oversold (side 1) or overbought (-1)."""
    return (
        int(side * (row.rsi - 50.0) < OVERSOLD - 50.0)
        + int(side * row.momentum < -FALL)
        + int(row.volume_ratio > BUSY)
    )


@njit(cache=True)
def adds(side: int, last: float, age: int, row: np.record) -> bool:
    """Return whether a layer is added: a more extreme close, time, or a false break."""
    # Paper silent: the three examples of line 18 have no formula; any one of these will do.
    band, previous_band = row.upper, row.previous_upper
    if side == 1:
        band, previous_band = row.lower, row.previous_lower
    outside = side * (row.close - band) < 0.0
    more_extreme = outside and side * (row.close - last) < 0.0
    time = age >= WAIT and side * (row.close - row.middle) < 0.0
    false_break = not outside and side * (row.previous_close - previous_band) < 0.0
    return bool(more_extreme or time or false_break)


@njit(cache=True)
def step(state: State, row: np.record, params: Params) -> tuple[State, float]:
    """Return the state and the target after the close of the bar."""
    bands = row.upper + row.lower + row.middle + row.previous_upper + row.previous_lower
    signals = row.close + row.previous_close + row.atr + row.rsi + row.momentum + row.volume_ratio
    if math.isnan(bands + signals):
        return state, 0.0
    position = state.position
    age = state.age + 1
    if position.direction == 0:  # line 5
        side = int(row.close < row.lower) - int(row.close > row.upper)  # lines 6, 8
        score = oversold_score(side, row)
        # Paper silent: the score is the number of layers the position is opened with.
        if side != 0 and score > 0:
            position = opened(side, min(score, params.L), row.close)  # lines 7, 9: BUY, SELL
            age = 0
    else:
        side = position.direction  # Paper silent: exits of a short; mirrored
        if side * (row.close - row.middle) >= 0.0 and side * row.momentum < 0.0:  # line 14
            position = NO_POSITION  # line 15: CLOSE
        elif side * (row.close - position.entry) < -params.m * row.atr:  # lines 12, 16
            position = NO_POSITION  # line 17: CLOSE
        elif position.layers < params.L and adds(side, position.last, age, row):  # line 18
            position = added(position, row.close)  # line 19: add
            age = 0
    return State(position, age), position.direction * position.layers / params.L


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
    trigger = f"touch {params.n}-day band at {params.k:g} deviations"
    return f"Bollinger-band reversal strategy ({trigger}, reverse trade)"


RULE = Rule("bollinger", "Boll", Params(), features, FLAT, step, scan, describe)
