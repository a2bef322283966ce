"""One asset as an agent may see it after the close of bar t: text and pictures of rows <= t."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from baselines.agents.prompts import plain_name
from mmdrex.observation.chart import draw
from mmdrex.observation.features import Row, Table, indicator_table, rows
from mmdrex.observation.text import (
    momentum_strength,
    moving_average_order,
    significant,
    volatility_change,
)

CHART_BARS = 60
CHART_SIZE = (448, 336)  # (width, height)
TRADES_BARS = 40
_WHITE, _LINE, _BUY, _SELL = (255, 255, 255), (90, 96, 110), (22, 150, 92), (214, 48, 49)


class Market:
    """Bars, indicators and what may be said of them.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5)
    anonymous : bool
        No symbol, no dates, and prices on a scale where the last close is 100.
    symbol : str, optional
        Else the bars' own.
    """

    def __init__(
        self, bars: pd.DataFrame, anonymous: bool = False, symbol: str | None = None
    ) -> None:
        self.symbol = symbol or str(bars.attrs.get("symbol", "asset"))
        self.name = "the asset" if anonymous else plain_name(self.symbol)
        self.anonymous = anonymous
        self.index = pd.DatetimeIndex(bars.index)
        self.table: Table = indicator_table(bars)
        self.close: NDArray[np.float64] = self.table["close"]

    def __len__(self) -> int:
        return len(self.table)

    def date(self, t: int) -> str:
        """Return the day of bar t, or its number where dates are hidden."""
        return f"day {t}" if self.anonymous else f"{self.index[t]:%Y-%m-%d}"

    def change(self, t: int, bars: int) -> float:
        """Return the change of the close over the last bars, as a fraction."""
        return float(self.close[t] / self.close[t - bars] - 1.0)

    def changes(self, t: int) -> str:
        """Return the changes over 1, 7 and 14 bars, as FinAgent's low-level reflection reads."""
        return ", ".join(f"{n} days {self.change(t, n):+.2%}" for n in (1, 7, 14))

    def facts(self, t: int) -> list[str]:
        """Return the technical summary after the close of bar t, one fact a line.

        It stands where the original agents read news, which our data do not have.
        """
        row = Row._make(self.table[t].item())
        unit = 100.0 / row.close if self.anonymous else 1.0
        closes = " ".join(significant(x * unit) for x in self.close[t - 4 : t + 1].tolist())
        band = row.upper - row.lower
        place = (row.close - row.lower) / band if band > 0.0 else 0.5
        cross = "above" if row.dif > row.dea else "below"
        return [
            f"Trend: {moving_average_order(row.ma10, row.ma20, row.ma100)}; the close is "
            f"{row.close / row.ma20 - 1.0:+.2%} from MA20 and {row.close / row.ma100 - 1.0:+.2%} "
            "from MA100",
            f"Momentum: {momentum_strength(row.rsi)}, RSI(14) {row.rsi:.1f}; change over 20 days "
            f"{self.change(t, 20):+.2%}",
            f"MACD: line {cross} its signal, histogram {row.hist / row.close:+.3%} of the price",
            f"KDJ: K {row.k:.1f}, D {row.d:.1f}, J {row.j:.1f}; Bollinger: at {place:.0%} of the "
            "band",
            f"Volatility: {volatility_change(row.atr, row.atr_mean)}, ATR(14) "
            f"{row.atr / row.close:.2%} of the price; volume {row.volume_ratio:.2f} times its "
            "5-day mean",
            f"Last five closes: {closes}; change today {row.change:+.2%}",
        ]

    def chart(self, t: int) -> NDArray[np.uint8]:
        """Return the candlestick chart of the last bars, shape (height, width, 3)."""
        return draw(rows(self.table, t - CHART_BARS + 1, t + 1), "global", CHART_SIZE)

    def trades_chart(self, t: int, actions: dict[int, str]) -> NDArray[np.uint8]:
        """Return the closes with an agent's own buys (green) and sells (red), up to bar t.

        Parameters
        ----------
        t : int
        actions : dict of int to str
            Bar to ``"BUY"`` or ``"SELL"``; other words are not drawn.
        """
        width, height = CHART_SIZE
        image = Image.new("RGB", (width, height), _WHITE)
        pen = ImageDraw.Draw(image)
        first = max(0, t - TRADES_BARS + 1)
        closes = self.close[first : t + 1]
        low, reach = float(closes.min()), float(np.ptp(closes)) or 1.0
        x = (np.arange(len(closes)) + 0.5) * width / len(closes)
        y = height - 24 - (closes - low) / reach * (height - 48)
        points = list(zip(x.tolist(), y.tolist(), strict=True))
        pen.line(points, fill=_LINE, width=2)
        for bar, action in actions.items():
            if first <= bar <= t and action in ("BUY", "SELL"):
                across, down = points[bar - first]
                tip = 8 if action == "BUY" else -8
                shape = [(across, down + tip), (across - 6, down + 2.4 * tip)]
                shape.append((across + 6, down + 2.4 * tip))
                pen.polygon(shape, fill=_BUY if action == "BUY" else _SELL)
        return np.asarray(image)
