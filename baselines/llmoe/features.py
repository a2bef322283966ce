"""What LLMoE's experts and its router read: five days, 11 figures a day."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baselines.agents.market import Market
from strategies import indicators

DAYS = 5
FIGURES = (
    *("open / close", "high / close", "low / close", "change of the close", "change of volume"),
    *(f"MA{n} / close" for n in (5, 10, 15, 20, 25, 30)),
)
INPUTS = DAYS * len(FIGURES)  # 55


def daily_figures(market: Market) -> NDArray[np.float64]:
    """Return the 11 figures of every day, shape (T, 11), as fractions, NaN until warm.

    Three price ratios, two daily changes and six deviations of moving averages. (The paper's
    eleventh is the change of an adjusted close beside the plain one; our prices have one close,
    and the volume's change stands in its place.)
    """
    table, close = market.table, market.close
    ratios = [table[name] / close - 1.0 for name in ("open", "high", "low")]
    busy = np.log(np.maximum(indicators.volume_ratio(table["volume"], 5), 1e-3))
    averages = [indicators.sma(close, n) / close - 1.0 for n in (5, 10, 15, 20, 25, 30)]
    return np.stack([*ratios, indicators.change(close, 1), busy, *averages], axis=1)


def inputs(figures: NDArray[np.float64], t: int) -> NDArray[np.float32]:
    """Return the experts' input after the close of bar t, shape (55,), the oldest day first."""
    return figures[t - DAYS + 1 : t + 1].reshape(-1).astype(np.float32)


def description(market: Market, figures: NDArray[np.float64], t: int) -> str:
    """Return the last five days in words, a line each, from rows <= t."""
    lines = []
    for day in range(t - DAYS + 1, t + 1):
        change, busy = figures[day, 3], figures[day, 4]
        week, month = -figures[day, 5], -figures[day, 10]
        spread = figures[day, 1] - figures[day, 2]
        lines.append(
            f"{market.date(day)}: close {change:+.2%} on the day, range {spread:.2%}, volume "
            f"{np.exp(busy):.2f} times usual, {week:+.2%} from the 5-day and {month:+.2%} from "
            "the 30-day average"
        )
    return "\n".join(lines)
