"""The bull-bear index (MM-DREX, Appendix D.8)."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from baselines.baseline import Array, Baseline
from baselines.direction import direction
from strategies import indicators

PERIODS = (3, 6, 12, 24)


@dataclass
class BBI(Baseline):
    """Long while the close lies above the mean of four moving averages, short below."""

    name = "bbi"

    def decide(self, bars: pd.DataFrame) -> Array:
        """Return sign(close - BBI), shape (T,), 0 until the longest average is warm."""
        close = bars["close"].to_numpy(dtype=float)
        first, second, third, fourth = (indicators.sma(close, n) for n in PERIODS)
        return direction(close, (first + second + third + fourth) / 4.0)
