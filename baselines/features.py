"""What the learned baselines see: the 17 features of MM-DREX, Table 12, over a look-back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.observation.features import COLUMNS, indicator_table
from mmdrex.observation.series import FEATURES, matrix

Windows = NDArray[np.float32]

LOOKBACK = 20  # Paper silent: k of D.12 and D.13; qlib's Alpha158 looks back 20 bars for most
LAGS = (0, 1, 2, 3, 5, 10, 19)

_SOURCE = [COLUMNS.index(name) for name in FEATURES]
_PRICES = ("close", "high", "low", "open", "ma10", "ma20", "ma100", "upper", "middle", "lower")
_PRICE = [FEATURES.index(name) for name in _PRICES]
_VOLUME = FEATURES.index("volume")


def feature_windows(bars: pd.DataFrame, lookback: int = LOOKBACK) -> Windows:
    """Return the look-back that ends with each bar, known after its close.

    Row t equals ``mmdrex.observation.series.series`` at bar t: prices relative to the window's
    last close, volume as log(1 + volume / mean of the window).

    Parameters
    ----------
    bars : DataFrame of shape (T, 5)
    lookback : int

    Returns
    -------
    ndarray of float32 of shape (T, lookback, 17)
        NaN in the rows before ``98 + lookback``.
    """
    result = np.full((len(bars), lookback, len(FEATURES)), np.nan, dtype=np.float32)
    if len(bars) < lookback:
        return result
    table = matrix(indicator_table(bars))[:, _SOURCE]  # (T, 17)
    windows = np.lib.stride_tricks.sliding_window_view(table, lookback, axis=0)  # (N, 17, k)
    # Contiguous, else numpy's order of summation depends on the number of rows.
    windows = np.array(windows.transpose(0, 2, 1), order="C")  # (N, k, 17)
    windows[:, :, _PRICE] = windows[:, :, _PRICE] / windows[:, -1:, :1] - 1.0
    volume = np.ascontiguousarray(windows[:, :, _VOLUME])
    mean = volume.mean(axis=1, keepdims=True)
    windows[:, :, _VOLUME] = np.log1p(np.where(mean > 0.0, volume / np.where(mean, mean, 1.0), 0.0))
    result[lookback - 1 :] = windows
    result[: 98 + lookback] = np.nan
    return result


def lagged_features(bars: pd.DataFrame, lags: Sequence[int] = LAGS) -> Windows:
    """Return the 17 features at some lags side by side, shape (T, 17 * lags), NaN until warm."""
    windows = feature_windows(bars, max(lags) + 1)
    picked = windows[:, [max(lags) - lag for lag in lags]]
    return np.ascontiguousarray(picked.reshape(len(bars), len(lags) * len(FEATURES)))


def warm_rows(features: Windows) -> NDArray[np.bool_]:
    """Return which rows (T,) hold no NaN."""
    return np.asarray(np.isfinite(features).all(axis=tuple(range(1, features.ndim))))
