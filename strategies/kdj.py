"""KDJ: fade extremes of the Chinese stochastic and its crossings (MM-DREX, Algorithm 6)."""

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

# Paper silent: the formulas behind line 4 and the thresholds of "strong".
MOMENTUM_BARS = 1
VOLUME_BARS = 5
BUSY = 1.2  # as in Algorithm 2
STRONG = 2  # signals, of three
DEEPER = 10.0  # points of J a layer
PROFIT = 0.08  # line 20


class Params(NamedTuple):
    """Parameters of Algorithm 6, line 1."""

    n: int = 9  # bars of the range
    theta_jb: float = 10.0  # buy: J below
    theta_kb: float = 20.0  # buy: K below
    theta_js: float = 90.0  # sell: J above
    theta_ks: float = 80.0  # sell: K above
    n_atr: int = 14  # bars of the ATR
    m: float = 1.8  # stop distance, multiples of ATR
    L: int = 3  # layers at most


def features(bars: pd.DataFrame, params: Params) -> Features:
    """Return what line 4 calculates, shape (T,), known after each close; NaN until warm."""
    high, low, close, volume = (
        bars[name].to_numpy(np.float64) for name in ("high", "low", "close", "volume")
    )
    k, d, j = indicators.kdj(high, low, close, params.n)
    return pack(
        close=close,
        k=k,
        d=d,
        j=j,
        previous_k=indicators.previous(k),
        previous_d=indicators.previous(d),
        previous_j=indicators.previous(j),
        atr=indicators.atr(high, low, close, params.n_atr),
        momentum=indicators.change(close, MOMENTUM_BARS),
        volume_ratio=indicators.volume_ratio(volume, VOLUME_BARS),
        divergence=indicators.divergence(close, k, params.n),
    )


@njit(cache=True)
def crossed(row: np.record) -> int:
    """Return 1 where K crosses above D (golden cross), -1 below (death cross), else 0."""
    if row.previous_k <= row.previous_d and row.k > row.d:
        return 1
    if row.previous_k >= row.previous_d and row.k < row.d:
        return -1
    return 0


@njit(cache=True)
def score(side: int, row: np.record) -> int:
    """Return how many of three signals speak for a reversal to ``side``."""
    return int(crossed(row) == side) + int(row.volume_ratio > BUSY) + int(side * row.momentum > 0.0)


@njit(cache=True)
def entry_layers(row: np.record, params: Params) -> int:
    """Return the signed number of layers to open, 0 to wait."""
    # Paper silent: the size by score. One layer, and one more for each signal beyond "strong".
    low = row.j < params.theta_jb or row.k < params.theta_kb
    if low and score(1, row) >= STRONG:  # line 6
        return min(1 + score(1, row) - STRONG, params.L)
    high = row.j > params.theta_js and row.k > params.theta_ks
    falls = row.momentum < 0.0 and row.volume_ratio > BUSY
    if high and (crossed(row) == -1 or falls):  # line 8
        return -min(1 + max(score(-1, row) - STRONG, 0), params.L)
    return 0


@njit(cache=True)
def exits(position: Position, row: np.record, params: Params) -> bool:
    """Return whether the position is closed."""
    side = position.direction  # line 26: symmetric
    k, j = side * (row.k - 50.0), side * (row.j - 50.0)
    if crossed(row) == -side and k > 20.0:  # line 14
        return True  # line 15: CLOSE
    if j > 30.0 and side * (row.j - row.previous_j) < -10.0:  # line 16
        return True  # line 17: CLOSE
    gain = side * (row.close - position.entry)
    if gain < -params.m * row.atr:  # lines 12, 18
        return True  # line 19: CLOSE
    return bool(gain > PROFIT * position.entry and (j > 20.0 or k > 20.0))  # lines 20-21: CLOSE


@njit(cache=True)
def adds(position: Position, row: np.record, params: Params) -> bool:
    """Return whether a layer is added: J lower still, a new cross in favour, or a divergence."""
    # Paper silent: the three examples of line 22 have no formula; any one of these will do.
    side = position.direction
    depth = params.theta_jb - row.j if side == 1 else row.j - params.theta_js
    lower_still = depth > DEEPER * position.layers
    return bool(lower_still or crossed(row) == side or row.divergence == side)


@njit(cache=True)
def step(state: Position, row: np.record, params: Params) -> tuple[Position, float]:
    """Return the state and the target after the close of the bar."""
    oscillator = row.k + row.d + row.j + row.previous_k + row.previous_d + row.previous_j
    signals = row.momentum + row.volume_ratio + row.divergence
    if math.isnan(row.close + row.atr + oscillator + signals):
        return state, 0.0
    position = state
    if position.direction == 0:  # line 5
        layers = entry_layers(row, params)
        if layers != 0:
            side = 1 if layers > 0 else -1
            position = opened(side, abs(layers), row.close)  # lines 7, 9: BUY, SELL
    elif exits(position, row, params):
        position = FLAT  # lines 15, 17, 19, 21: CLOSE
    elif position.layers < params.L and adds(position, row, params):  # line 22
        position = added(position, row.close)  # line 23: add
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
    buy = f"J<{params.theta_jb:g} or K<{params.theta_kb:g} buy"
    sell = f"J>{params.theta_js:g} and K>{params.theta_ks:g} sell"
    return f"KDJ reversal strategy ({buy}, {sell})"


RULE = Rule("kdj", "KDJ", Params(), features, FLAT, step, scan, describe)
