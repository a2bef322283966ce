"""Calendar splits, the same for all assets of a class, and what may be used for what.

``train`` fits, ``validation`` reports, ``test`` is opened once, and that is
logged (`mmdrex.audit.openings`). Whatever is chosen
(checkpoint, threshold, best expert) is chosen on ``select``, the last year of ``train``; a model
that such a choice is made for is fitted on ``fit``, the part of ``train`` before it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.data.bars import periods_per_year

SPLITS = ("fit", "select", "train", "validation", "test")

TRAIN_END = {
    "exchange": pd.Timestamp("2021-12-31"),
    "crypto": pd.Timestamp("2023-07-14"),
}
VALIDATION_END = {
    "exchange": pd.Timestamp("2023-08-31"),
    "crypto": pd.Timestamp("2024-05-18"),
}
_FIRST, _LAST = pd.Timestamp("1800-01-01"), pd.Timestamp("2200-01-01")


def asset_class(index: pd.Index) -> str:
    """Return whose calendar splits bars follow: ``"crypto"`` if they have Saturdays."""
    return "crypto" if periods_per_year(pd.DatetimeIndex(index)) == 365 else "exchange"


def no_window_message(window: int, split: str, data: str) -> str:
    """Return what to say where no window of so many bars lies in a split of ``data``."""
    return (
        f"no window of {window} bars lies in the split {split!r} of {data}; give prices of "
        "earlier or more years"
    )


def split_range(split: str, crypto: bool = False) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and the last day of a split, both inclusive.

    Parameters
    ----------
    split : str
        One of ``SPLITS``; ``fit`` and ``select`` together are ``train``.
    crypto : bool
        Whether the asset trades seven days a week.

    Raises
    ------
    ValueError
        If there is no such split.
    """
    asset_class = "crypto" if crypto else "exchange"
    train_end, validation_end = TRAIN_END[asset_class], VALIDATION_END[asset_class]
    day = pd.Timedelta(days=1)
    fit_end = train_end - pd.DateOffset(years=1)
    ranges = {
        "fit": (_FIRST, fit_end),
        "select": (fit_end + day, train_end),
        "train": (_FIRST, train_end),
        "validation": (train_end + day, validation_end),
        "test": (validation_end + day, _LAST),
    }
    if split not in ranges:
        raise ValueError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    return ranges[split]


def require_apart(fitted: str, chosen: str) -> None:
    """Refuse to choose a checkpoint on days that it is fitted on.

    Raises
    ------
    ValueError
        If the two splits share a day.
    """
    (first, last), (begin, end) = split_range(fitted), split_range(chosen)
    if first <= end and begin <= last:
        raise ValueError(
            f"a checkpoint fitted on {fitted!r} can't be chosen on {chosen!r}, which shares days "
            "with it; fit_split: fit goes with select_split: select, train with validation"
        )


def split_of(time: pd.Timestamp, crypto: bool = False) -> str:
    """Return the split a bar belongs to: ``"train"``, ``"validation"`` or ``"test"``."""
    day = pd.Timestamp(time).normalize()
    for split in ("train", "validation"):
        if day <= split_range(split, crypto)[1]:
            return split
    return "test"


def span_label(first: pd.Timestamp, last: pd.Timestamp, crypto: bool = False) -> str:
    """Return the splits that the days from ``first`` to ``last`` touch, such as ``"train+test"``.

    Examples
    --------
    >>> span_label(pd.Timestamp("2021-06-01"), pd.Timestamp("2022-06-01"))
    'train+validation'
    """
    if last < first:
        raise ValueError(f"the span ends ({last}) before it starts ({first})")
    order = ("train", "validation", "test")
    start, stop = order.index(split_of(first, crypto)), order.index(split_of(last, crypto))
    return "+".join(order[start : stop + 1])


def first_earned(index: pd.DatetimeIndex, decided: pd.Timestamp) -> pd.Timestamp:
    """Return the first bar that a decision at a close can earn in: the next, else the last."""
    after = int(index.searchsorted(decided, side="right"))
    earned: pd.Timestamp = index[min(after, len(index) - 1)]
    return earned


def overlaps(trained: tuple[str, str], earned: pd.Timestamp, last: pd.Timestamp) -> bool:
    """Return whether training dates, first and last, meet the bars from ``earned`` to ``last``."""
    return bool(earned <= pd.Timestamp(trained[1]) and pd.Timestamp(trained[0]) <= last)


def outcomes_inside(
    index: pd.DatetimeIndex,
    decisions: NDArray[np.int64],
    window: int,
    split: str,
    crypto: bool = False,
) -> NDArray[np.bool_]:
    """Return which decisions have their whole outcome inside a split (the others are purged).

    The outcome of decision ``d`` is earned on the bars ``d + 1 .. d + window``; the look-back
    before it may lie in an earlier split.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    decisions : ndarray of int of shape (N,)
        Rows of the decision bars.
    window : int
        Bars of an outcome.
    split : str
        One of ``SPLITS``.
    crypto : bool

    Returns
    -------
    ndarray of bool of shape (N,)
        False as well where the outcome is cut off by the end of the prices.
    """
    first, last = split_range(split, crypto)
    rows = np.asarray(decisions, dtype=np.int64)
    whole = rows + window < len(index)
    days = index.normalize()
    starts = days[np.minimum(rows + 1, len(index) - 1)]
    stops = days[np.minimum(rows + window, len(index) - 1)]
    inside: NDArray[np.bool_] = whole & (starts >= first) & (stops <= last)
    return inside
