"""Buy-and-hold (MM-DREX, Appendix D.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from baselines.baseline import Array, Baseline


@dataclass
class BuyAndHold(Baseline):
    """Long with all the capital from the first bar to the last."""

    name = "buy_and_hold"

    def decide(self, bars: pd.DataFrame) -> Array:
        """Return ones, shape (T,)."""
        # Paper: sign(P[t+1] - P[t]) would know tomorrow's price.
        return np.ones(len(bars))
