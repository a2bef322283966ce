"""The chart V of an observation: candles, moving averages, bands, volume, MACD, RSI and KDJ.

Drawn with Pillow at twice the size and averaged down, so that lines fall between pixels. The chart
carries no numbers: prices and dates are the prompt's business, and a chart of prices times two is
the same chart.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

View = Literal["global", "local"]
Array = NDArray[np.float64]
Window = np.recarray[Any, np.dtype[Any]]
Color = tuple[int, int, int]

ALPHA = 0.3  # share of the width that the local view shows; Paper silent: 0.3
SUPERSAMPLE = 2
# Share of the height per panel; an eighth each, so that a panel fills whole rows of patches.
PANELS = {"price": 4 / 8, "volume": 1 / 8, "macd": 1 / 8, "rsi": 1 / 8, "kdj": 1 / 8}
LABELS = {
    "price": "MA10 MA20 MA100 BOLL(20,2)",
    "volume": "VOLUME",
    "macd": "MACD(12,26,9)",
    "rsi": "RSI(14)",
    "kdj": "KDJ(9,3,3)",
}
BACKGROUND, GRID, LABEL = (255, 255, 255), (218, 222, 228), (120, 126, 138)
UP, DOWN = (22, 150, 92), (214, 48, 49)
ORANGE, BLUE, PURPLE, BAND = (243, 146, 0), (25, 110, 220), (150, 70, 190), (160, 168, 180)
LABELS_FROM_HEIGHT = 400  # below it, letters would hide the lines


def scales(window: Window) -> dict[str, tuple[float, float]]:
    """Return, per column that is drawn, the values at the bottom and the top of its panel.

    Parameters
    ----------
    window : recarray of shape (T,)
        Rows of ``indicator_table``; known after the close of the last row.
    """
    low = float(min(window.low.min(), window.lower.min()))
    high = float(max(window.high.max(), window.upper.max()))
    price = (low, high if high > low else low + 1.0)  # MA100 may leave the panel: it is clipped
    volume = (0.0, float(window.volume.max()) or 1.0)
    reach = max(float(np.abs(window[name]).max()) for name in ("dif", "dea", "hist")) or 1.0
    columns = {
        **dict.fromkeys(("open", "high", "low", "close", *_PRICE_LINES), price),
        "volume": volume,
        **dict.fromkeys(("dif", "dea", "hist"), (-reach, reach)),
        "rsi": (0.0, 100.0),
        **dict.fromkeys(("k", "d", "j"), (-20.0, 120.0)),
    }
    return columns


def local_bars(lookback: int, alpha: float = ALPHA) -> int:
    """Return how many of the last bars the local view shows."""
    return max(1, round(alpha * lookback))


def draw(
    window: Window,
    view: View = "global",
    size: tuple[int, int] = (840, 672),
    alpha: float = ALPHA,
) -> NDArray[np.uint8]:
    """Return the chart of the look-back as an image of shape (height, width, 3).

    The local view is the right-most share ``alpha`` of the same chart, on the same price scale
    (MM-DREX, Appendix E, input features), drawn at its own resolution instead of enlarged.

    Parameters
    ----------
    window : recarray of shape (T,)
        The look-back's rows of ``indicator_table``; the last row is the decision bar.
    size : (width, height) in pixels
    """
    width, height = size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE
    image = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(image)
    shown = len(window) if view == "global" else local_bars(len(window), alpha)
    hidden = len(window) - shown
    step = width / shown
    x = (np.arange(-hidden, shown, dtype=np.float64) + 0.5) * step

    scale = scales(window)
    line = max(SUPERSAMPLE, height // 400)
    top = 0.0
    for name, share in PANELS.items():
        bottom = top + share * height
        pen.line([(0, top), (width, top)], fill=GRID, width=1)
        _PAINT[name](_Panel(pen, window, scale, top, bottom, x, step, hidden, line))
        top = bottom
    image = image.reduce(SUPERSAMPLE)
    if size[1] >= LABELS_FROM_HEIGHT:
        _label(image)
    return np.asarray(image)


class _Panel(NamedTuple):
    """One panel of the canvas; ``x`` are the bars' centres, the first ``hidden`` not shown."""

    pen: ImageDraw.ImageDraw
    window: Window
    scale: dict[str, tuple[float, float]]
    top: float
    bottom: float
    x: Array
    step: float
    hidden: int
    line: int

    def rows(self, name: str, values: Array | None = None) -> Array:
        """Return the pixel rows of a column (or of values on its scale), clipped to the panel."""
        low, high = self.scale[name]
        margin = 0.04 * (self.bottom - self.top)
        share = np.clip(
            ((self.window[name] if values is None else values) - low) / (high - low), 0, 1
        )
        return self.bottom - margin - share * (self.bottom - self.top - 2 * margin)

    def level(self, name: str, value: float) -> Array:
        """Return the pixel row of one value, once per bar."""
        return self.rows(name, np.full(len(self.window), value))

    def curve(self, y: Array, color: Color) -> None:
        """Draw a line through every bar's centre."""
        self.pen.line(list(zip(self.x.tolist(), y.tolist(), strict=True)), color, self.line)

    def bars(self, y: Array, base: Array, rising: NDArray[np.bool_], width: float) -> None:
        """Draw a bar from base to y for every bar shown, ``width`` as a share of the step."""
        half = 0.5 * width * self.step
        left, right = self.x - half, self.x + half
        upper, lower = np.minimum(y, base), np.maximum(y, base)
        boxes = np.stack([left, upper, right, lower], axis=1)[self.hidden :].tolist()
        for box, up in zip(boxes, rising[self.hidden :].tolist(), strict=True):
            self.pen.rectangle(box, UP if up else DOWN)


def _price(panel: _Panel) -> None:
    for name, color in _PRICE_LINES.items():
        panel.curve(panel.rows(name), color)
    rising = panel.window.close >= panel.window.open
    panel.bars(panel.rows("high"), panel.rows("low"), rising, width=0.1)
    panel.bars(panel.rows("close"), panel.rows("open"), rising, width=0.7)


def _volume(panel: _Panel) -> None:
    rising = panel.window.close >= panel.window.open
    panel.bars(panel.rows("volume"), np.full(len(panel.x), panel.bottom), rising, width=0.7)


def _macd(panel: _Panel) -> None:
    panel.bars(panel.rows("hist"), panel.level("hist", 0.0), panel.window.hist >= 0, width=0.5)
    for name, color in {"dif": ORANGE, "dea": BLUE}.items():
        panel.curve(panel.rows(name), color)


def _rsi(panel: _Panel) -> None:
    for level in (30.0, 70.0):
        panel.curve(panel.level("rsi", level), GRID)
    panel.curve(panel.rows("rsi"), PURPLE)


def _kdj(panel: _Panel) -> None:
    for name, color in {"j": PURPLE, "d": BLUE, "k": ORANGE}.items():
        panel.curve(panel.rows(name), color)


_PRICE_LINES = {"upper": BAND, "lower": BAND, "ma100": PURPLE, "ma20": BLUE, "ma10": ORANGE}
_PAINT = {"price": _price, "volume": _volume, "macd": _macd, "rsi": _rsi, "kdj": _kdj}


def _label(image: Image.Image) -> None:
    """Write each panel's name in its upper left corner."""
    pen = ImageDraw.Draw(image)
    top = 0.0
    for panel, share in PANELS.items():
        pen.text((6, top + 3), LABELS[panel], fill=LABEL)
        top += share * image.height
