"""Technical indicators, the one place they come from: TA-Lib where it has the right formula.

Every function takes float64 arrays of shape (T,) and returns arrays of shape (T,); a value at index
t uses rows <= t only and is NaN until enough rows exist.
"""

from __future__ import annotations

import math

import numpy as np
import talib
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sma(values: Array, n: int) -> Array:
    """Return the simple moving average of the last ``n`` values, in the unit of ``values``."""
    return talib.SMA(values, n)


def ema(values: Array, n: int) -> Array:
    """Return the exponential moving average (smoothing 2 / (n + 1), seeded with the first SMA)."""
    return talib.EMA(values, n)


def rsi(close: Array, n: int = 14) -> Array:
    """Return Wilder's relative strength index, in [0, 100]."""
    return talib.RSI(close, n)


def atr(high: Array, low: Array, close: Array, n: int = 14) -> Array:
    """Return Wilder's average true range, in price units."""
    return talib.ATR(high, low, close, n)


@njit(cache=True)
def _deviation(values: Array, n: int) -> Array:
    # TA-Lib's running sum of squares loses all digits where prices fell by many powers of ten.
    deviation = np.full(len(values), np.nan)
    for t in range(n - 1, len(values)):
        mean, squares = 0.0, 0.0
        for i in range(t - n + 1, t + 1):
            mean += values[i] / n
        for i in range(t - n + 1, t + 1):
            squares += (values[i] - mean) ** 2
        deviation[t] = math.sqrt(squares / n)
    return deviation


def bollinger(close: Array, n: int = 20, k: float = 2.0) -> tuple[Array, Array, Array]:
    """Return the Bollinger bands (upper, middle, lower): SMA(n) plus and minus k deviations."""
    middle = sma(close, n)
    width = k * _deviation(close, n)
    return middle + width, middle, middle - width


def macd(
    close: Array, fast: int = 12, slow: int = 26, signal: int = 9
) -> tuple[Array, Array, Array]:
    """Return MACD (DIF, DEA, DIF - DEA), in price units."""
    dif, dea, histogram = talib.MACD(close, fast, slow, signal)
    return dif, dea, histogram


def adx(high: Array, low: Array, close: Array, n: int = 14) -> tuple[Array, Array, Array]:
    """Return Wilder's (ADX, +DI, -DI), each in [0, 100]."""
    return (
        talib.ADX(high, low, close, n),
        talib.PLUS_DI(high, low, close, n),
        talib.MINUS_DI(high, low, close, n),
    )


def highest(values: Array, n: int) -> Array:
    """Return the maximum of the last ``n`` values, the current one included."""
    return talib.MAX(values, n)


def lowest(values: Array, n: int) -> Array:
    """Return the minimum of the last ``n`` values, the current one included."""
    return talib.MIN(values, n)


@njit(cache=True)
def _kdj(high: Array, low: Array, close: Array, n: int) -> tuple[Array, Array, Array]:
    k = np.full(len(close), np.nan)
    d, j = k.copy(), k.copy()
    rsv, k_now, d_now = 50.0, 50.0, 50.0
    for t in range(n - 1, len(close)):
        top, bottom = high[t], low[t]
        for i in range(t - n + 1, t):
            top, bottom = max(top, high[i]), min(bottom, low[i])
        if top > bottom:  # else RSV keeps its last value
            rsv = 100.0 * (close[t] - bottom) / (top - bottom)
        k_now = 2.0 / 3.0 * k_now + 1.0 / 3.0 * rsv
        d_now = 2.0 / 3.0 * d_now + 1.0 / 3.0 * k_now
        k[t], d[t], j[t] = k_now, d_now, 3.0 * k_now - 2.0 * d_now
    return k, d, j


def kdj(high: Array, low: Array, close: Array, n: int = 9) -> tuple[Array, Array, Array]:
    """Return the Chinese KDJ: K and D in [0, 100], J = 3K - 2D unbounded; K and D start at 50."""
    # Paper silent: the formula of KDJ; TA-Lib's STOCH is another one.
    k, d, j = _kdj(high, low, close, n)
    return k, d, j


def previous(values: Array, n: int = 1) -> Array:
    """Return the values of ``n`` bars earlier, NaN where there is none."""
    earlier = np.full(len(values), np.nan)
    earlier[n:] = values[:-n]
    return earlier


def change(values: Array, n: int) -> Array:
    """Return the relative change over ``n`` bars, as a fraction."""
    return values / previous(values, n) - 1.0


def ratio(numerator: Array, denominator: Array) -> Array:
    """Return the quotient, NaN where an input is NaN and 1 where the denominator is 0."""
    quotient: Array = np.where(np.isnan(numerator + denominator), np.nan, 1.0)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0.0)
    return quotient


def mean_volume(volume: Array, n: int) -> Array:
    """Return the mean volume of the last ``n`` bars, exactly 0 where none of them traded."""
    return np.where(highest(volume, n) == 0.0, 0.0, sma(volume, n))


def volume_ratio(volume: Array, n: int = 5) -> Array:
    """Return volume over the mean of the ``n`` bars before it; 1 where that mean is 0."""
    return ratio(volume, previous(mean_volume(volume, n)))


def divergence(close: Array, oscillator: Array, n: int = 14) -> Array:
    """Return 1 where a new low of the price is not one of the oscillator, -1 mirrored, else 0.

    The current bar is compared with the closes and oscillator values of the ``n`` bars before it.
    """
    # Paper silent: "divergence" has no formula.
    floor, ceiling = previous(lowest(oscillator, n)), previous(highest(oscillator, n))
    bullish = (close < previous(lowest(close, n))) & (oscillator > floor)
    bearish = (close > previous(highest(close, n))) & (oscillator < ceiling)
    signal = bullish.astype(np.float64) - bearish
    signal[np.isnan(floor + oscillator)] = np.nan
    return signal
