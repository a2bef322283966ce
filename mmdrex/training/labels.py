"""Listing 2's three-way trend label of the next 90 bars, and the windows that carry one.

A bar is in an uptrend when MA5 > MA20, ADX(14) > 15 and +DI > -DI, in a downtrend when all three
are mirrored (ADX > 15 stays), else flat. A window is labelled by the trend that holds on at least
half of its bars, else flat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.data.bars import periods_per_year
from mmdrex.data.splits import outcomes_inside
from mmdrex.data.windows import LOOKBACK, WINDOW, first_decision
from mmdrex.router.vocabulary import LABELS
from strategies import indicators

FAST, SLOW, PERIOD = 5, 20, 14  # Paper silent: the period of ADX and DI
STRONG = 15.0  # ADX above which there is a trend
SHARE = 0.5  # of the window's bars
STRIDE = 16  # bars from one window to the next; Paper silent: its counts imply about 16
UP, DOWN, FLAT = range(len(LABELS))
UNKNOWN = -1
COLUMNS = ("symbol", "time", "row", "until", "label", *(f"{name}_days" for name in LABELS))


class TrendLabels(NamedTuple):
    """Labels by decision bar; ``UNKNOWN`` where the outcome is cut off or not warm."""

    label: NDArray[np.int64]  # (T,) index into LABELS
    days: NDArray[np.int64]  # (T, 3) bars of the outcome per state; 0 where unknown


def trend_states(bars: pd.DataFrame) -> NDArray[np.int64]:
    """Return each bar's own state, known after its close.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5)
        Validated bars.

    Returns
    -------
    ndarray of int of shape (T,)
        Index into ``LABELS``; ``UNKNOWN`` until ADX is warm (27 bars).
    """
    high, low, close = (
        np.ascontiguousarray(bars[name], dtype=np.float64) for name in ("high", "low", "close")
    )
    fast, slow = indicators.sma(close, FAST), indicators.sma(close, SLOW)
    adx, plus, minus = indicators.adx(high, low, close, PERIOD)
    trending = adx > STRONG
    states = np.full(len(close), FLAT, dtype=np.int64)
    states[(fast > slow) & trending & (plus > minus)] = UP
    states[(fast < slow) & trending & (minus > plus)] = DOWN
    states[np.isnan(slow + adx + plus + minus)] = UNKNOWN
    return states


def trend_labels(bars: pd.DataFrame, window: int = WINDOW) -> TrendLabels:
    """Return the label of every decision bar: the states of the ``window`` bars after it.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5)
    window : int
        Bars of the outcome, ``t + 1 .. t + window``: those the decision is traded on.

    Returns
    -------
    TrendLabels
        What it says of bar t is known after the close of bar ``t + window`` only.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1 bar; got {window}")
    states = trend_states(bars)
    seen = np.zeros((len(states) + 1, len(LABELS)), dtype=np.int64)
    seen[1:] = np.cumsum(states[:, None] == np.arange(len(LABELS)), axis=0)
    days = np.zeros((len(states), len(LABELS)), dtype=np.int64)
    if len(states) > window:
        days[:-window] = seen[window + 1 :] - seen[1:-window]
    whole = days.sum(axis=1) == window
    label = np.full(len(states), FLAT, dtype=np.int64)
    # Paper silent: half up and half down satisfy both lines; the listing names the uptrend first.
    label[days[:, DOWN] >= SHARE * window] = DOWN
    label[days[:, UP] >= SHARE * window] = UP
    label[~whole] = UNKNOWN
    days[~whole] = 0
    return TrendLabels(label, days)


def labelled_windows(
    assets: Mapping[str, pd.DataFrame],
    split: str,
    stride: int = STRIDE,
    window: int = WINDOW,
    lookback: int = LOOKBACK,
) -> pd.DataFrame:
    """Return the windows whose whole outcome lies in a split, one row each.

    Parameters
    ----------
    assets : mapping of str to DataFrame
        Validated bars by symbol.
    split : str
        One of ``mmdrex.data.splits.SPLITS``.
    stride : int
        Bars from one decision bar to the next.
    window, lookback : int
        Bars of the outcome and of the chart.

    Returns
    -------
    DataFrame of shape (N, 8)
        ``symbol``, ``time`` and ``row`` of the decision bar, ``until`` (last day of the outcome),
        ``label`` (one of ``LABELS``), ``up_days``, ``down_days``, ``flat_days``; by symbol, then
        time.
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1 bar; got {stride}")
    frames = []
    for symbol, bars in assets.items():
        index = pd.DatetimeIndex(bars.index)
        rows = np.arange(first_decision(lookback), len(index), stride, dtype=np.int64)
        crypto = periods_per_year(index) == 365
        rows = rows[outcomes_inside(index, rows, window, split, crypto)]
        labels = trend_labels(bars, window)
        rows = rows[labels.label[rows] != UNKNOWN]
        frame = {
            "symbol": symbol,
            "time": index[rows],
            "row": rows,
            "until": index[rows + window],
            "label": [LABELS[label] for label in labels.label[rows]],
        }
        frame |= {f"{name}_days": labels.days[rows, i] for i, name in enumerate(LABELS)}
        if len(rows):
            frames.append(pd.DataFrame(frame))
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(frames, ignore_index=True)


def class_balance(labels: pd.Series) -> pd.DataFrame:
    """Return count and share of each label, shape (3, 2), in the order of ``LABELS``."""
    count = labels.value_counts().reindex(list(LABELS), fill_value=0)
    return pd.DataFrame({"count": count, "share": count / max(1, len(labels))})
