"""Williams' percent range (MM-DREX, Appendix D.9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from baselines.baseline import Array, Baseline
from strategies import indicators


@dataclass
class WR(Baseline):
    """Long in the lowest fifth of the range of the last bars, short in the highest, else in cash.

    Parameters
    ----------
    n : int
        N, bars of the range, the current one included.
    """

    name = "wr"

    n: int = 14  # Paper silent: N

    def decide(self, bars: pd.DataFrame) -> Array:
        """Return 1 where WR < -80, -1 where WR > -20, else 0; 0 where nothing moved."""
        close = bars["close"].to_numpy(dtype=float)
        highest = indicators.highest(bars["high"].to_numpy(dtype=float), self.n)
        lowest = indicators.lowest(bars["low"].to_numpy(dtype=float), self.n)
        percent = np.full(len(close), np.nan)
        span = highest - lowest
        np.divide(-100.0 * (highest - close), span, out=percent, where=span > 0.0)
        return (percent < -80.0).astype(np.float64) - (percent > -20.0)
