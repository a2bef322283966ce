"""ATR: trade a close outside a channel of ATRs around the average (MM-DREX, Algorithm 8)."""

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

SLOPE_BARS = 5  # Paper silent: bars over which the average's slope is taken
EXTENSION = 0.5  # Paper silent: what "beyond" means, multiples of ATR


class Params(NamedTuple):
    """Parameters of Algorithm 8, line 1."""

    n_ma: int = 20  # bars of the moving average
    n_atr: int = 20  # bars of the ATR
    m_e: float = 1.5  # entry channel, multiples of ATR
    m_x: float = 0.75  # exit price, multiples of ATR
    m_s: float = 1.2  # stop distance, multiples of ATR
    L: int = 3  # Paper silent: layers at most


class State(NamedTuple):
    """The position, and the stop price set at its entry."""

    position: Position = NO_POSITION
    stop: float = 0.0


FLAT = State()


def features(bars: pd.DataFrame, params: Params) -> Features:
    """Return what line 4 calculates, shape (T,), known after each close; NaN until warm."""
    high, low, close = (bars[name].to_numpy(np.float64) for name in ("high", "low", "close"))
    ma = indicators.sma(close, params.n_ma)
    return pack(
        close=close,
        ma=ma,
        slope=ma - indicators.previous(ma, SLOPE_BARS),
        atr=indicators.atr(high, low, close, params.n_atr),
    )


@njit(cache=True)
def step(state: State, row: np.record, params: Params) -> tuple[State, float]:
    """Return the state and the target after the close of the bar."""
    if math.isnan(row.close + row.ma + row.slope + row.atr):
        return state, 0.0
    position, stop = state.position, state.stop
    distance = row.close - row.ma
    channel = params.m_e * row.atr  # line 4
    if position.direction == 0:  # line 5
        side = int(distance > channel) - int(distance < -channel)  # lines 6, 8
        if side != 0:
            # Paper silent: the quality score. One layer, one more half an ATR beyond the channel,
            # one more when the average moves the same way.
            beyond = side * distance - channel > EXTENSION * row.atr
            layers = 1 + int(beyond) + int(side * row.slope > 0.0)
            position = opened(side, min(layers, params.L), row.close)  # lines 7, 9: BUY, SELL
            stop = row.close - side * params.m_s * row.atr  # line 11
    else:
        side = position.direction  # line 21: symmetric
        # Paper silent: "breakout continues". Half an ATR past the last layer, outside the channel.
        extends = side * (row.close - position.last) > EXTENSION * row.atr
        # Paper: line 12 sets the exit price while flat; frozen there a long could outlive its trend
        # by years. It follows the MA and ATR of the day.
        left = side * distance < params.m_x * row.atr  # line 12
        if side * (row.close - stop) < 0.0 or left:  # line 15
            position = NO_POSITION  # line 16: CLOSE
        elif extends and side * distance > channel and position.layers < params.L:  # line 17
            position = added(position, row.close)  # line 18: add
    return State(position, stop), position.direction * position.layers / params.L


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
    return f"ATR-breakout strategy (price breaks {params.n_ma}-day MA ± {params.m_e:g} ATR)"


RULE = Rule("atr_breakout", "ATR", Params(), features, FLAT, step, scan, describe)
