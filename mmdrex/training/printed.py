"""The numbers that a window's text prints, as numbers: what stage 0 asks of the text.

Asked only for what follows from them, a model learns the words and leaves most numbers unread. So
each is asked for at the token that follows it, the first to know that it is over, and all of them
at the last token.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from mmdrex.observation.chart import Window
from mmdrex.observation.text import CLOSES

MONTH = 20  # bars of the printed range
MOMENTUM = 10  # bars of the printed momentum
LEAST = 1e-4  # added to sizes, whose logarithms stay finite where a market never moves
LOWEST = 0.05  # share of the close: after a steep rise the lower band falls to zero and below
# As `mmdrex.observation.text` prints them, and in that order.
NAMES = (
    *(f"close {bars} bars ago" for bars in range(CLOSES - 1, 0, -1)),
    *("ma10", "ma20", "ma100", "rsi", "upper", "lower", "width of the band", "place in the band"),
    *("k", "d", "j", "volume ratio", "change", "amplitude", "ATR", "volatility"),
    *("return since the bar before the window", "momentum", f"range of {MONTH} bars"),
)
_NUMBER = r"(-?\d[\d.]*)"
_PRINTED = re.compile(
    rf"Last {CLOSES} closes: {' '.join([_NUMBER] * (CLOSES - 1))} \S+\n"
    rf"MA10 {_NUMBER}, MA20 {_NUMBER}, MA100 {_NUMBER}\n"
    rf"RSI\(14\) {_NUMBER}\n"
    rf"Bollinger: upper {_NUMBER}, lower {_NUMBER}, width {_NUMBER}%, price at {_NUMBER}%\n"
    rf"KDJ: K {_NUMBER}, D {_NUMBER}, J {_NUMBER}\n"
    rf"Volume: .*ratio {_NUMBER}\n"
    rf"Change {_NUMBER}%, amplitude {_NUMBER}%, ATR\(14\) {_NUMBER}%, volatility {_NUMBER}%\n"
    rf"Last return over the past \d+ days {_NUMBER}%, 10-day momentum {_NUMBER}%, "
    rf"20-day range {_NUMBER}%\n"
)


def number_ends(text: str) -> list[int]:
    """Return the place in a window's text of what follows each number of ``NAMES``.

    Raises
    ------
    ValueError
        If the text does not print them.
    """
    found = _PRINTED.search(text)
    if found is None:
        raise ValueError(f"the text prints no numbers as expected: {text[-400:]!r}")
    return [found.end(group + 1) for group in range(len(NAMES))]


def printed(windows: list[Window]) -> NDArray[np.float32]:
    """Return the figures of windows of indicator rows: shape (B, len(NAMES)), in that order.

    Prices are logarithms of their share of the last close, returns and sizes logarithms, what is
    printed out of 100 a share, the volume ratio log(1 + ratio), the change as it is.
    """
    first, last = (np.stack([window[row] for window in windows]) for row in (0, -1))
    closes = np.stack([window["close"] for window in windows])
    month = np.stack([window[-MONTH:] for window in windows])
    close, band = last["close"], last["upper"] - last["lower"]
    before = first["close"] / (1.0 + first["change"])

    def price(name: str) -> NDArray[np.float64]:
        shown: NDArray[np.float64] = np.log(np.maximum(last[name] / close, LOWEST))
        return shown

    def size(value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(value + LEAST)

    figures = [
        *np.log(closes[:, -CLOSES:-1] / close[:, None]).T,
        *(price(name) for name in ("ma10", "ma20", "ma100")),
        last["rsi"] / 100.0,
        *(price(name) for name in ("upper", "lower")),
        size(band / last["middle"]),
        np.divide(close - last["lower"], band, out=np.full(len(band), 0.5), where=band > 0.0),
        *(last[name] / 100.0 for name in ("k", "d", "j")),
        np.log1p(last["volume_ratio"]),
        last["change"],
        *(size(value) for value in (last["amplitude"], last["atr"] / close, last["volatility"])),
        np.log(close / before),
        np.log(close / closes[:, -1 - MOMENTUM]),
        size((month["high"].max(axis=1) - month["low"].min(axis=1)) / close),
    ]
    return np.stack(figures, axis=1).astype(np.float32)
