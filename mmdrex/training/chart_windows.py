"""Windows to read charts on: real assets and simulated markets, and what each chart shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.data.bars import periods_per_year
from mmdrex.data.simulated import simulated_bars
from mmdrex.data.splits import split_range
from mmdrex.data.windows import first_decision
from mmdrex.observation.chart import Window, draw, local_bars, scales
from mmdrex.observation.features import indicator_table

DRAWN = (
    *("open", "high", "low", "close", "ma10", "ma20", "ma100", "upper", "lower", "volume"),
    *("dif", "dea", "hist", "rsi", "k", "d", "j"),
)
LOOKBACK = 100
GLOBAL_SIZE, LOCAL_SIZE = (280, 224), (168, 224)  # 10 and 5 bars per column of image tokens
LOCAL_BARS = local_bars(LOOKBACK)


@dataclass(frozen=True)
class ChartWindows:
    """Windows of many assets; window ``i`` ends at row ``ends[i, 1]`` of asset ``ends[i, 0]``."""

    symbols: list[str]
    tables: list[Window]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def window(self, i: int) -> Window:
        """Return the indicator rows of window ``i``, a recarray of shape (LOOKBACK,)."""
        asset, end = self.ends[i]
        rows: Window = self.tables[asset][end - LOOKBACK + 1 : end + 1]
        return rows


def chart_windows(assets: Mapping[str, pd.DataFrame], split: str, stride: int = 1) -> ChartWindows:
    """Return every window whose decision bar lies in a split.

    Parameters
    ----------
    assets : mapping of str to DataFrame
        Bars by symbol.
    split : str
        One of ``mmdrex.data.splits.SPLITS``.
    stride : int
        Bars from one window to the next.
    """
    symbols: list[str] = []
    tables: list[Window] = []
    ends: list[NDArray[np.int64]] = []
    for symbol, bars in assets.items():
        days = pd.DatetimeIndex(bars.index)
        first, last = split_range(split, crypto=periods_per_year(days) == 365)
        inside = np.flatnonzero((days >= first) & (days <= last))
        rows = inside[inside >= first_decision(LOOKBACK)][::stride]
        if len(rows):
            ends.append(np.stack([np.full(len(rows), len(tables)), rows], axis=1))
            tables.append(indicator_table(bars))
            symbols.append(symbol)
    return ChartWindows(
        symbols, tables, np.concatenate(ends) if ends else np.empty((0, 2), np.int64)
    )


def simulated_markets(count: int, seed: int, bars: int = 2000) -> dict[str, pd.DataFrame]:
    """Return simulated markets by name, all before the end of the training split."""
    return {f"simulated {seed + i}": simulated_bars(seed + i, bars=bars)[0] for i in range(count)}


def shown(window: Window) -> NDArray[np.float32]:
    """Return what the chart shows, as shares of each panel's height: (len(DRAWN), LOOKBACK)."""
    scale = scales(window)
    values = [(window[name] - scale[name][0]) / (scale[name][1] - scale[name][0]) for name in DRAWN]
    return np.clip(np.stack(values), 0.0, 1.0).astype(np.float32)


def charts(windows: list[Window]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the global and the local charts, each of shape (N, height, width, 3)."""
    wide = np.stack([draw(window, "global", GLOBAL_SIZE) for window in windows])
    near = np.stack([draw(window, "local", LOCAL_SIZE) for window in windows])
    return wide, near
