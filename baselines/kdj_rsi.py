"""KDJ with RSI (MM-DREX, Appendix D.6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from baselines.baseline import Array, Baseline
from strategies import indicators


@dataclass
class KDJRSI(Baseline):
    """Long where K and RSI both say oversold, short where both say overbought, else in cash.

    Parameters
    ----------
    n : int
        Bars of KDJ's range.
    rsi_n : int
        Bars of the RSI.
    """

    name = "kdj_rsi"

    # Paper silent: both periods; KDJ's usual 9 and the 14 of Table 14.
    n: int = 9
    rsi_n: int = 14

    def decide(self, bars: pd.DataFrame) -> Array:
        """Return 1 where K < 20 and RSI < 30, -1 where K > 80 and RSI > 70, else 0."""
        high, low, close = (bars[name].to_numpy(dtype=float) for name in ("high", "low", "close"))
        k, _, _ = indicators.kdj(high, low, close, self.n)
        rsi = indicators.rsi(close, self.rsi_n)
        oversold = (k < 20.0) & (rsi < 30.0)  # NaN compares False
        overbought = (k > 80.0) & (rsi > 70.0)
        return oversold.astype(np.float64) - overbought
