"""MACD (MM-DREX, Appendix D.5)."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from baselines.baseline import Array, Baseline
from baselines.direction import direction
from strategies import indicators


@dataclass
class MACD(Baseline):
    """Long while the fast exponential average lies above the slow one, short below.

    Parameters
    ----------
    fast, slow : int
        Bars of the two averages; the paper's 12 and 26.
    """

    name = "macd"

    fast: int = 12
    slow: int = 26

    def decide(self, bars: pd.DataFrame) -> Array:
        """Return sign(EMA fast - EMA slow), shape (T,), 0 until both are warm."""
        close = bars["close"].to_numpy(dtype=float)
        return direction(indicators.ema(close, self.fast), indicators.ema(close, self.slow))
