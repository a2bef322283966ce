"""The four tools whose signals the decision reads (FinAgent's augmented tools)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmdrex.observation.features import Table
from strategies import indicators

Signals = NDArray[np.int8]

RSI_LOW, RSI_HIGH = 30.0, 70.0
K_LOW, K_HIGH = 20.0, 80.0
Z_LIMIT = 2.0
STOCHASTIC = 14
_WORDS = {1: "BUY", 0: "HOLD", -1: "SELL"}


class Tools(NamedTuple):
    """Signals of shape (T,): 1 buy, -1 sell, 0 nothing; known after the close of each bar."""

    macd: Signals
    kdj_rsi: Signals
    stochastic_bollinger: Signals
    z_score: Signals

    def text(self, t: int) -> str:
        """Return what the tools say after the close of bar t, a line each."""
        return "\n".join(
            f"- {title}: {_WORDS[int(signals[t])]}"
            for title, signals in zip(_TITLES, self, strict=True)
        )


_TITLES = (
    "MACD crossing its signal line",
    "KDJ crossing, if the RSI is not against it",
    "stochastic oscillator at an extreme outside the Bollinger bands",
    "return to the mean when the price is two deviations away",
)


def tools(table: Table) -> Tools:
    """Return the signals of all four tools; a tool that is not warm says nothing.

    Parameters
    ----------
    table : recarray of shape (T,)
        From ``indicator_table``.
    """
    close, high, low = table["close"], table["high"], table["low"]
    # Paper silent: the tools' parameters; the usual ones of each indicator.
    crossing = _crossing(table["k"], table["d"])
    against = np.where(crossing > 0, table["rsi"] > RSI_HIGH, table["rsi"] < RSI_LOW)
    top = indicators.highest(high, STOCHASTIC)
    bottom = indicators.lowest(low, STOCHASTIC)
    raw = np.full(len(close), 50.0)
    np.divide(100.0 * (close - bottom), top - bottom, out=raw, where=top > bottom)
    slow = indicators.sma(raw, 3)
    deviation = (table["upper"] - table["middle"]) / 2.0
    z = np.zeros(len(close))
    np.divide(close - table["middle"], deviation, out=z, where=deviation > 0.0)
    return Tools(
        _crossing(table["dif"], table["dea"]),
        np.where(against, 0, crossing).astype(np.int8),
        _signals(
            (slow < K_LOW) & (close < table["lower"]), (slow > K_HIGH) & (close > table["upper"])
        ),
        _signals(z < -Z_LIMIT, z > Z_LIMIT),
    )


def _signals(buy: NDArray[np.bool_], sell: NDArray[np.bool_]) -> Signals:
    return buy.astype(np.int8) - sell.astype(np.int8)


def _crossing(fast: NDArray[np.float64], slow: NDArray[np.float64]) -> Signals:
    """Return 1 where ``fast`` crosses ``slow`` upwards, -1 downwards; comparisons with NaN fail."""
    before_fast, before_slow = indicators.previous(fast), indicators.previous(slow)
    return _signals(
        (fast > slow) & (before_fast <= before_slow), (fast < slow) & (before_fast >= before_slow)
    )
