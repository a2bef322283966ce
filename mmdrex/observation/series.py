"""The series T of an observation: the 17 features of MM-DREX, Table 12."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmdrex.observation.features import COLUMNS, Table, rows

# Table 12, in its order; the volume is normalised here.
FEATURES = (
    *("close", "high", "low", "open", "volume", "change", "amplitude"),
    *("ma10", "ma20", "ma100", "rsi", "upper", "middle", "lower", "k", "d", "j"),
)
_PRICES = ("close", "high", "low", "open", "ma10", "ma20", "ma100", "upper", "middle", "lower")
_SOURCE = [COLUMNS.index(name) for name in FEATURES]
_PRICE = [FEATURES.index(name) for name in _PRICES]
_VOLUME = FEATURES.index("volume")


def matrix(table: Table) -> NDArray[np.float64]:
    """Return the table's fields side by side, shape (T, fields), without a copy."""
    return table.view(np.float64, np.ndarray).reshape(len(table), len(COLUMNS))


def series(table: Table, t: int, lookback: int = 100) -> NDArray[np.float32]:
    """Return the features of the look-back that ends with bar ``t``, known after its close.

    Prices are relative to the window's last close (0.02 is 2 % above it), so that a 5-dollar and
    a 500-dollar asset look alike; the volume is log(1 + volume / mean of the window), 0 where the
    mean is 0; change and amplitude are fractions; RSI and KDJ stay on their scale of 0 to 100.
    Nothing is standardised: the router does that with the figures of its training split.

    Parameters
    ----------
    table : recarray of shape (T,)
        From ``indicator_table``.
    t : int
        Row of the last bar; from ``98 + lookback`` on nothing is NaN.
    lookback : int
        Bars; the paper's T_in, 100.

    Returns
    -------
    ndarray of float32 of shape (lookback, 17)
        In the order of ``FEATURES`` (MM-DREX, Table 12, eq. E.6).
    """
    features = matrix(rows(table, t - lookback + 1, t + 1))[:, _SOURCE]
    features[:, _PRICE] = features[:, _PRICE] / features[-1, 0] - 1.0
    # Paper silent: how the volume is normalised. The logarithm keeps one huge day from hiding
    # the others.
    mean = features[:, _VOLUME].mean()
    features[:, _VOLUME] = np.log1p(features[:, _VOLUME] / mean) if mean > 0 else 0.0
    return features.astype(np.float32)
