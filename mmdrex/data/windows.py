"""Which bars a run decides on, and how many bars that takes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.errors import TooFewBarsError

LOOKBACK = 100  # the paper's T_in
WINDOW = 90  # bars a decision is traded for


def first_decision(lookback: int = LOOKBACK) -> int:
    """Return the first row with MA100 known across the whole look-back: ``98 + lookback``."""
    return 98 + lookback


def minimum_bars(lookback: int = LOOKBACK, window: int = WINDOW) -> int:
    """Return the bars that one decision and its whole window need: 199 + 90 as a rule."""
    return first_decision(lookback) + 1 + window


def require_length(bars: pd.DataFrame, lookback: int, window: int, symbol: str) -> None:
    """Raise TooFewBarsError unless the bars hold one decision and its whole window."""
    needed = minimum_bars(lookback, window)
    if len(bars) < needed:
        raise TooFewBarsError(
            f"{symbol} has {len(bars)} bars; a look-back of {lookback} and a window of {window} "
            f"need at least {needed}: load more history or shorten them"
        )


def decision_bars(
    index: pd.DatetimeIndex,
    window: int = WINDOW,
    lookback: int = LOOKBACK,
    start: str | pd.Timestamp | None = None,
) -> NDArray[np.int64]:
    """Return the rows of the decision bars ``d0 + j * window``.

    Window j owns the targets ``d .. d + window - 1``, filled from the open of ``d + 1`` on; the
    last window may be short. A decision due on the last bar counts: it is tomorrow's order, and
    the prefix law wants its target.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    window, lookback : int
        Bars.
    start : date, optional
        ``d0`` is the last bar before it, if that is later than ``98 + lookback``.

    Returns
    -------
    ndarray of int of shape (N,)
        Ascending; empty if no decision fits.

    Raises
    ------
    ValueError
        If ``window`` is not positive or the prices end before ``start``.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1 bar; got {window}")
    first = first_decision(lookback)
    if start is not None:
        before = int(index.searchsorted(pd.Timestamp(start))) - 1
        if before >= len(index) - 1:
            raise ValueError(
                f"the prices end on {index[-1]:%Y-%m-%d}, too early for a start on "
                f"{pd.Timestamp(start):%Y-%m-%d}"
            )
        first = max(first, before)
    return np.arange(first, len(index), window, dtype=np.int64)
