"""The bias ratio (MM-DREX, Appendix D.10)."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from baselines.baseline import Array, Baseline
from baselines.direction import direction
from strategies import indicators


@dataclass
class BIAS(Baseline):
    """Short while the close lies above its moving average, long below: it expects a return.

    Parameters
    ----------
    n : int
        Bars of the average; 12 and 24 are usual too.
    """

    name = "bias"

    n: int = 6  # Paper silent: n

    def decide(self, bars: pd.DataFrame) -> Array:
        """Return sign(-BIAS), which is sign(average - close), shape (T,), 0 until warm."""
        close = bars["close"].to_numpy(dtype=float)
        return -direction(close, indicators.sma(close, self.n)) + 0.0  # no negative zeros
