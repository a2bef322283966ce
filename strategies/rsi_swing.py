"""RSI: fade an overbought or oversold RSI until it is back in the middle (MM-DREX, Algorithm 5)."""

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

# Paper silent: the formulas behind line 4 and the thresholds of "strong", "flat" and "spike".
RSI_MOMENTUM_BARS = 3
TREND_BARS = 5  # as in Algorithm 1
FLAT_TREND = 0.01
VOLUME_BARS = 5
SPIKE = 1.5  # as in Algorithm 7
STRONG = 2  # signals, of four
DEEPER = 5.0  # points of RSI a layer
PROFIT = 0.08  # line 18
STRETCHED = 60.0  # line 18


class Params(NamedTuple):
    """Parameters of Algorithm 5, line 1."""

    n: int = 14  # bars of the RSI
    theta_os: float = 35.0  # oversold below
    theta_ob: float = 65.0  # overbought above
    theta_neu: float = 50.0  # neutral
    n_atr: int = 14  # bars of the ATR
    m: float = 1.8  # stop distance, multiples of ATR
    L: int = 3  # layers at most


def features(bars: pd.DataFrame, params: Params) -> Features:
    """Return what line 4 calculates, shape (T,), known after each close; NaN until warm."""
    high, low, close, volume = (
        bars[name].to_numpy(np.float64) for name in ("high", "low", "close", "volume")
    )
    rsi = indicators.rsi(close, params.n)
    return pack(
        close=close,
        rsi=rsi,
        atr=indicators.atr(high, low, close, params.n_atr),
        rsi_momentum=rsi - indicators.previous(rsi, RSI_MOMENTUM_BARS),
        trend=indicators.change(close, TREND_BARS),
        volume_ratio=indicators.volume_ratio(volume, VOLUME_BARS),
        divergence=indicators.divergence(close, rsi, params.n),
    )


@njit(cache=True)
def score(side: int, row: np.record) -> int:
    """Return how many of four signals speak for a reversal to ``side``."""
    return (
        int(side * row.rsi_momentum > 0.0)
        + int(side * row.trend >= -FLAT_TREND)
        + int(row.volume_ratio > SPIKE)
        + int(row.divergence == side)
    )


@njit(cache=True)
def entry_layers(row: np.record, params: Params) -> int:
    """Return the signed number of layers to open, 0 to wait."""
    # Paper silent: the size by score. One layer, and one more for each signal beyond "strong".
    if row.rsi < params.theta_os and score(1, row) >= STRONG:  # line 6
        return min(1 + score(1, row) - STRONG, params.L)
    if row.rsi > params.theta_ob and row.trend <= FLAT_TREND:  # line 8
        return -min(1 + max(score(-1, row) - STRONG, 0), params.L)
    return 0


@njit(cache=True)
def exits(position: Position, row: np.record, params: Params) -> bool:
    """Return whether the position is closed."""
    side = position.direction  # line 24: symmetric
    gain = side * (row.close - position.entry)
    if side * (row.rsi - params.theta_neu) > 0.0 and side * row.rsi_momentum < 0.0:  # line 14
        return True  # line 15: CLOSE
    if gain < -params.m * row.atr:  # lines 12, 16
        return True  # line 17: CLOSE
    stretched = side * (row.rsi - 50.0) > STRETCHED - 50.0
    return bool(gain > PROFIT * position.entry and stretched)  # lines 18-19: CLOSE


@njit(cache=True)
def adds(position: Position, row: np.record, params: Params) -> bool:
    """Return whether a layer is added: a more extreme RSI, a divergence, or a price drop."""
    # Paper silent: the three examples of line 20 have no formula; any one of these will do.
    side = position.direction
    depth = params.theta_os - row.rsi if side == 1 else row.rsi - params.theta_ob
    more_extreme = depth > DEEPER * position.layers
    drop = side * (row.close - position.last) < -row.atr
    return bool(more_extreme or row.divergence == side or drop)


@njit(cache=True)
def step(state: Position, row: np.record, params: Params) -> tuple[Position, float]:
    """Return the state and the target after the close of the bar."""
    signals = row.rsi + row.rsi_momentum + row.trend + row.volume_ratio + row.divergence
    if math.isnan(row.close + row.atr + signals):
        return state, 0.0
    position = state
    if position.direction == 0:  # line 5
        layers = entry_layers(row, params)
        if layers != 0:
            side = 1 if layers > 0 else -1
            position = opened(side, abs(layers), row.close)  # lines 7, 9: BUY, SELL
    elif exits(position, row, params):
        position = FLAT  # lines 15, 17, 19: CLOSE
    elif position.layers < params.L and adds(position, row, params):  # line 20
        position = added(position, row.close)  # line 21: add
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
    return f"RSI reversal strategy (RSI < {params.theta_os:g} buy, > {params.theta_ob:g} sell)"


RULE = Rule("rsi_swing", "RSI", Params(), features, FLAT, step, scan, describe)
