"""Bars: one checked DataFrame of daily prices per asset."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

COLUMNS = ("open", "high", "low", "close", "volume")


def load_bars(source: str | Path | pd.DataFrame, symbol: str | None = None) -> pd.DataFrame:
    """Return checked bars from a CSV file (first working version)."""
    frame = pd.read_csv(source) if not isinstance(source, pd.DataFrame) else source
    frame = frame.rename(columns=str.lower).set_index("date")
    frame.index = pd.DatetimeIndex(frame.index)
    frame = frame[list(COLUMNS)].astype("float64")
    frame.attrs["symbol"] = symbol or (Path(source).stem if isinstance(source, str | Path) else "")
    return frame


def periods_per_year(index: pd.DatetimeIndex) -> int:
    """Return the trading days of a year: 365 if Saturdays occur, else 252."""
    return 365 if bool((index.dayofweek == 5).any()) else 252
