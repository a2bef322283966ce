"""Momentum: follow a blend of three momenta while it lasts (MM-DREX, Algorithm 2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from strategies import indicators
from strategies.position import FLAT, Position, added, opened
from strategies.rule import Array, Features, Rule, pack

if TYPE_CHECKING:
    import pandas as pd

ACCELERATION_BARS = 5  # line 5
RSI_BARS = 14  # Paper silent: period of the RSI
VOLUME_BARS = 5  # Paper silent: bars of the volume ratio; Listing 3 prints a 5-day average


class Params(NamedTuple):
    """Parameters of Algorithm 2, line 1."""

    l: int = 10  # noqa: E741 - the paper's symbol: bars of the mid momentum
    theta_e: float = 0.02  # entry threshold
    theta_x: float = 0.005  # exit threshold
    a: int = 14  # bars of the ATR
    m: float = 1.5  # stop distance, multiples of ATR
    L: int = 3  # layers at most
    rsi: float = 40.0  # RSI threshold of a short entry


def features(bars: pd.DataFrame, params: Params) -> Features:
    """Return what lines 4-5 compute, shape (T,), known after each close; NaN until warm."""
    high, low, close, volume = (
        bars[name].to_numpy(np.float64) for name in ("high", "low", "close", "volume")
    )
    # Paper silent: the short and long momentum; over half and twice the look-back l.
    short = indicators.change(close, params.l // 2)
    mid = indicators.change(close, params.l)
    long = indicators.change(close, 2 * params.l)
    momentum = 0.5 * mid + 0.3 * short + 0.2 * long  # line 4
    return pack(
        close=close,
        momentum=momentum,
        acceleration=momentum - indicators.previous(momentum, ACCELERATION_BARS),
        atr=indicators.atr(high, low, close, params.a),
        rsi=indicators.rsi(close, RSI_BARS),
        volume_ratio=indicators.volume_ratio(volume, VOLUME_BARS),
    )


@njit(cache=True)
def entry_side(row: np.record, params: Params) -> int:
    """Return 1 to buy, -1 to sell, 0 to wait."""
    # Paper: the bracket of line 7 never closes; its list is read as AND.
    rises = row.acceleration > 0.0 and row.rsi > 50.0 and row.volume_ratio > 1.2
    if row.momentum > params.theta_e and rises:  # line 7
        return 1
    falls = row.acceleration < 0.0 and row.rsi < params.rsi
    if row.momentum < -params.theta_e and falls:  # line 9
        return -1
    return 0


@njit(cache=True)
def adds(position: Position, row: np.record, theta_e: float) -> bool:
    """Return whether at least two of the four signals of line 16 are met."""
    side, layers = position.direction, position.layers
    gain = side * (row.close - position.entry)
    met = (
        int(side * row.momentum > theta_e * (1.0 + 0.5 * layers))
        + int(gain > 0.01 * layers * position.entry)
        + int(side * row.acceleration > 0.5 * theta_e)
        + int(row.volume_ratio > 1.3)
    )
    return met >= 2


@njit(cache=True)
def step(state: Position, row: np.record, params: Params) -> tuple[Position, float]:
    """Return the state and the target after the close of the bar."""
    signals = row.momentum + row.acceleration + row.rsi + row.volume_ratio
    if math.isnan(row.close + row.atr + signals):
        return state, 0.0
    position = state
    if position.direction == 0:  # line 6
        side = entry_side(row, params)  # lines 7, 9
        if side != 0:
            position = opened(side, 1, row.close)  # lines 8, 10: BUY, SELL
    else:
        side = position.direction  # Paper silent: exits of a short; mirrored
        stopped = side * (row.close - position.entry) < -params.m * row.atr  # line 13
        if stopped or side * row.momentum < params.theta_x:  # line 14
            position = FLAT  # line 15: CLOSE
        elif position.layers < params.L and adds(position, row, params.theta_e):  # line 16
            position = added(position, row.close)  # line 17: add
    return position, position.direction * position.layers / params.L


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
    days = f"{params.l // 2}/{params.l}/{2 * params.l}-day"
    threshold = f"{100.0 * params.theta_e:g}"
    return f"Momentum strategy ({days} return > {threshold} % buy, < -{threshold} % sell)"


RULE = Rule("momentum", "Momentum", Params(), features, FLAT, step, scan, describe)
