"""How a window's prices and volumes move, in numbers: what stage 0 asks for beside the lines.

A chart's lines say where the price is; these say what kind of market it is: how far it moves, how
straight, whether moves go on or are taken back, whether volume comes in bursts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmdrex.observation.chart import Window

Array = NDArray[np.float64]

SPANS = (10, 20, 50, 99)  # last bars that a figure looks at
STEPS = (5, 10, 20)  # bars of a variance ratio: over 1 where moves go on, under 1 where they turn
NAMES = (
    *(f"volatility of {span} bars" for span in SPANS),
    *(f"drift of {span} bars" for span in SPANS),
    *(f"straightness of {span} bars" for span in SPANS),
    *(f"variance ratio of {step} bars" for step in STEPS),
    *("mean range", "slope", "fit of a line", "largest fall", "crossings of MA20"),
    *("spread of RSI", "largest volume", "five largest volumes", "spread of the volume"),
    "volume with the size of moves",
)
LEAST = 1e-8  # keeps a market that never moves finite


def texture(windows: list[Window]) -> NDArray[np.float32]:
    """Return the figures of windows of indicator rows: shape (B, len(NAMES)), in that order.

    Volatilities and ranges are logarithms, drifts are in deviations of that many bars'
    independent steps, straightness is a drift's size; volumes are log(1 + volume / mean).
    """

    def field(name: str) -> Array:
        return np.stack([window[name] for window in windows]).astype(np.float64)

    close, volume = np.log(field("close")), field("volume")
    steps = np.diff(close, axis=1)
    mean = volume.mean(axis=1, keepdims=True)
    volume = np.log1p(np.divide(volume, mean, out=np.zeros_like(volume), where=mean > 0.0))
    total = steps.var(axis=1) + LEAST
    drifts = [
        steps[:, -span:].sum(axis=1) / (np.sqrt(span) * steps[:, -span:].std(axis=1) + LEAST**0.5)
        for span in SPANS
    ]
    time = np.linspace(-1.0, 1.0, close.shape[1])
    slope = (close * time).mean(axis=1) / (time**2).mean()
    centred = close - close.mean(axis=1, keepdims=True)
    left = (centred - slope[:, None] * time).var(axis=1)
    largest = np.sort(volume, axis=1)[:, -5:]
    above = np.sign(field("close") - field("ma20"))
    figures = [
        *(np.log(steps[:, -span:].std(axis=1) + 1e-4) for span in SPANS),
        *drifts,
        *(np.abs(drift) for drift in drifts),
        *(
            np.log((close[:, step:] - close[:, :-step]).var(axis=1) / (step * total) + 1e-3)
            for step in STEPS
        ),
        np.log((field("high") / field("low") - 1.0).mean(axis=1) + 1e-4),
        slope,
        1.0 - left / (centred.var(axis=1) + LEAST),
        (np.maximum.accumulate(close, axis=1) - close).max(axis=1),
        (np.diff(above, axis=1) != 0.0).sum(axis=1).astype(np.float64),
        field("rsi").std(axis=1) / 100.0,
        largest[:, -1],
        largest.mean(axis=1),
        volume.std(axis=1),
        _correlation(volume[:, 1:], np.abs(steps)),
    ]
    return np.stack(figures, axis=1).astype(np.float32)


def _correlation(one: Array, other: Array) -> Array:
    """Return the correlation of each row of two arrays (B, T); 0 where one does not move."""
    a, b = (part - part.mean(axis=1, keepdims=True) for part in (one, other))
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    product = (a * b).sum(axis=1)
    found: Array = np.divide(product, size, out=np.zeros_like(product), where=size > LEAST)
    return found
