"""CR, as the paper prints it and as charts draw it (MM-DREX, Appendix D.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from baselines.baseline import Array, Baseline
from baselines.direction import direction
from strategies import indicators


@dataclass
class CR(Baseline):
    """Long while the close lies above the mean of the bar's own prices, short below.

    Parameters
    ----------
    indicator : bool
        Trade the energy indicator CR of Chinese charts instead: over ``n`` bars, the reach of the
        highs above yesterday's mid price against that of the lows below it; long above 100 %.
    n : int
        Bars of the indicator.
    """

    name = "cr"

    # Paper: the title says Commodity Channel, the formula is (O + H + L + C) / 4 of the same bar.
    indicator: bool = False
    n: int = 26

    def decide(self, bars: pd.DataFrame) -> Array:
        """Return sign(close - CR), or the indicator's side of 100 %, shape (T,)."""
        open_, high, low, close = (
            bars[name].to_numpy(dtype=float) for name in ("open", "high", "low", "close")
        )
        if not self.indicator:
            return direction(close, (open_ + high + low + close) / 4.0)
        middle = indicators.previous((high + low) / 2.0)
        above = _summed(np.maximum(high - middle, 0.0), self.n)
        below = _summed(np.maximum(middle - low, 0.0), self.n)
        return direction(above, below)  # CR = above / below, against 1


def _summed(values: Array, n: int) -> Array:
    """Return the sum of the last ``n`` values; the first value is no number and counts as none."""
    total = np.full(len(values), np.nan)
    total[1:] = n * indicators.sma(values[1:], n) if len(values) > n else np.nan
    return total
