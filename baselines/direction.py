"""From a distance to a direction, shared by the rules that take a sign."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUNDING = 1e-12  # relative to the price; moving sums are off by less


def direction(price: Array, level: Array) -> Array:
    """Return sign(price - level), shape (T,): 1, 0 or -1; 0 where the level is NaN.

    A price that differs from the level by rounding alone is on it.
    """
    apart = price - level
    apart = np.where(np.abs(apart) <= ROUNDING * np.abs(price), 0.0, apart)
    return np.nan_to_num(np.sign(apart), nan=0.0)
