"""Volume: trade a breakout that comes with volume until it dries up (MM-DREX, Algorithm 7)."""

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

EXTENSION = 0.5  # Paper silent: what "beyond" means, multiples of ATR


class Params(NamedTuple):
    """Parameters of Algorithm 7, line 1."""

    n_p: int = 20  # bars of the recent high and low, and of the long average volume
    n_v: int = 5  # bars of the short average volume
    n_ma: int = 10  # bars of the moving average
    lam: float = 1.5  # lambda: volume multiplier
    n_atr: int = 14  # bars of the ATR
    m: float = 1.8  # stop distance, multiples of ATR
    L: int = 3  # Paper silent: layers at most


class State(NamedTuple):
    """The position, and the stop price set at its entry."""

    position: Position = NO_POSITION
    stop: float = 0.0


FLAT = State()


def features(bars: pd.DataFrame, params: Params) -> Features:
    """Return what line 4 calculates, shape (T,), known after each close; NaN until warm.

    The recent high and low exclude the bar itself: they are what its close is held against.
    """
    high, low, close, volume = (
        bars[name].to_numpy(np.float64) for name in ("high", "low", "close", "volume")
    )
    short = indicators.mean_volume(volume, params.n_v)
    long = indicators.mean_volume(volume, params.n_p)
    return pack(
        close=close,
        recent_high=indicators.previous(indicators.highest(high, params.n_p)),
        recent_low=indicators.previous(indicators.lowest(low, params.n_p)),
        volume_ratio=indicators.volume_ratio(volume, params.n_v),
        volume_trend=indicators.ratio(short, long),
        ma=indicators.sma(close, params.n_ma),
        atr=indicators.atr(high, low, close, params.n_atr),
    )


@njit(cache=True)
def entry_layers(row: np.record, params: Params) -> int:
    """Return the signed number of layers to open, 0 to wait."""
    if row.volume_ratio <= params.lam:
        return 0
    if row.close > row.recent_high:  # line 6
        side, beyond = 1, row.close - row.recent_high
    elif row.close < row.recent_low:  # line 8
        side, beyond = -1, row.recent_low - row.close
    else:
        return 0
    # Paper silent: the breakout score. One layer, one more beyond half an ATR, one more while
    # average volume rises.
    layers = 1 + int(beyond > EXTENSION * row.atr) + int(row.volume_trend > 1.0)
    return side * min(layers, params.L)


@njit(cache=True)
def step(state: State, row: np.record, params: Params) -> tuple[State, float]:
    """Return the state and the target after the close of the bar."""
    signals = row.recent_high + row.recent_low + row.volume_ratio + row.volume_trend
    if math.isnan(row.close + row.ma + row.atr + signals):
        return state, 0.0
    position, stop = state.position, state.stop
    if position.direction == 0:  # line 5
        layers = entry_layers(row, params)
        if layers != 0:
            side = 1 if layers > 0 else -1
            position = opened(side, abs(layers), row.close)  # lines 7, 9: BUY, SELL
            stop = row.close - side * params.m * row.atr  # line 11
    else:
        side = position.direction  # line 20: symmetric
        # Paper silent: volume exhaustion. Short average below long, and price back at its average.
        exhausted = row.volume_trend < 1.0 and side * (row.close - row.ma) < 0.0
        extends = side * (row.close - position.last) > EXTENSION * row.atr
        if side * (row.close - stop) < 0.0 or exhausted:  # line 14
            position = NO_POSITION  # line 15: CLOSE
        # Paper silent: "volume stays high". The short average is above the long one.
        elif extends and row.volume_trend > 1.0 and position.layers < params.L:  # line 16
            position = added(position, row.close)  # line 17: add
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
    return f"Volume-breakout strategy ({params.n_p}-day price breakout + volume {params.lam:g}x)"


RULE = Rule("volume_breakout", "Volume", Params(), features, FLAT, step, scan, describe)
