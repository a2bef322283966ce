"""The indicators behind chart, series and text, computed once per asset."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategies import indicators

Array = NDArray[np.float64]
Table = np.recarray[Any, np.dtype[Any]]

VOLATILITY_BARS = 100  # Table 13, row 4


class Row(NamedTuple):
    """The fields of the table; as plain floats a row is several times faster to read."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    change: float
    amplitude: float
    ma10: float
    ma20: float
    ma100: float
    rsi: float
    upper: float
    middle: float
    lower: float
    k: float
    d: float
    j: float
    dif: float
    dea: float
    hist: float
    volume_mean: float
    volume_ratio: float
    volatility: float
    atr: float
    atr_mean: float


COLUMNS = Row._fields


def rows(table: Table, start: int, stop: int) -> Table:
    """Return the rows ``start .. stop - 1`` as a view."""
    window: Table = table[start:stop]  # type: ignore[assignment]  # numpy's stubs forget the class
    return window


def _lagged(values: Array) -> Array:
    """Return ``values`` one bar later, NaN first."""
    return np.concatenate(([np.nan], values[:-1]))


def _rolling_deviation(values: Array, n: int) -> Array:
    """Return the sample deviation of the last ``n`` values; each window on its own, no drift."""
    result = np.full(len(values), np.nan)
    if len(values) >= n:
        # Contiguous, else numpy's order of summation depends on the number of rows.
        windows = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(values, n))
        result[n - 1 :] = windows.std(axis=1, ddof=1)
    return result


def indicator_table(bars: pd.DataFrame) -> Table:
    """Return every indicator the observation needs, each known after the close of its row.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5)
        Validated bars (``mmdrex.data.bars``).

    Returns
    -------
    recarray of shape (T,)
        Fields of float64, NaN where an indicator is not warm yet:

        - ``open high low close volume``: the bar;
        - ``change``, ``amplitude``: fractions of the close before (Table 13, rows 1 and 2);
        - ``ma10 ma20 ma100 upper middle lower dif dea hist``: in price units;
        - ``rsi k d j``: Wilder's RSI(14), KDJ(9), on the scale of 0 to 100;
        - ``volume_mean``, ``volume_ratio``: mean of the 5 bars before, ratio to it (row 3);
        - ``volatility``: deviation of the last 100 log returns, per bar (row 4);
        - ``atr``, ``atr_mean``: Table 13's mean true range of 14 bars; its mean over the 14 bars
          before.
    """
    columns = ("open", "high", "low", "close", "volume")
    open_, high, low, close, volume = (
        np.ascontiguousarray(bars[column], dtype=np.float64) for column in columns
    )
    before = _lagged(close)
    # Table 13, row 5: a simple mean, where the rules use Wilder's (TA-Lib's) ATR.
    atr = indicators.sma(np.maximum(high, before) - np.minimum(low, before), 14)
    arrays = (
        *(open_, high, low, close, volume, close / before - 1.0, (high - low) / before),
        *(indicators.sma(close, n) for n in (10, 20, 100)),
        indicators.rsi(close, 14),
        *indicators.bollinger(close, 20, 2.0),
        *indicators.kdj(high, low, close, 9),
        *indicators.macd(close, 12, 26, 9),
        _lagged(indicators.sma(volume, 5)),
        indicators.volume_ratio(volume, 5),  # Paper silent: n; Listing 3 prints a 5-day mean
        _rolling_deviation(np.log(close / before), VOLATILITY_BARS),
        atr,
        _lagged(indicators.sma(atr, 14)),
    )
    table = np.recarray(len(close), dtype=[(name, np.float64) for name in COLUMNS])
    for name, array in zip(COLUMNS, arrays, strict=True):
        table[name] = array
    return table
