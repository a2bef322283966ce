"""Bars: one checked DataFrame of prices per asset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.data.csv_file import read_csv
from mmdrex.data.parquet_file import read_parquet
from mmdrex.data.spelling import COLUMNS, spelled
from mmdrex.errors import BarsError

PRICES = ("open", "high", "low", "close")
PARQUET = (".parquet", ".pq")
DUST = 1e-9  # relative; adjusted prices cross high and low by a rounding


def load_bars(source: str | Path | pd.DataFrame, symbol: str | None = None) -> pd.DataFrame:
    """Return the checked bars of one asset, from a file or a table.

    Columns may be spelled in any usual way (``Date``, ``timestamp``, ``OPEN``, ...; yfinance's
    two levels too) and the dates may be the index. An ``Adj Close`` beside ``Close`` scales open,
    high, low and close alike; the volume stays as given. A time zone is dropped, the wall clock
    stays. Other columns are left out.

    Parameters
    ----------
    source : path or DataFrame
        ``.parquet`` and ``.pq`` are read as parquet, everything else as CSV.
    symbol : str, optional
        The asset's name; else ``attrs["symbol"]`` of the DataFrame or the file's stem.

    Returns
    -------
    DataFrame of shape (T, 5)
        float64 ``open high low close volume`` on ascending tz-naive dates;
        ``attrs["symbol"]`` names the asset.

    Raises
    ------
    BarsError
        If the prices can't be used: one sentence with file, row and fix.
    """
    if isinstance(source, pd.DataFrame):
        name = symbol or str(source.attrs.get("symbol", "asset"))
        return validate_bars(source, name)
    path = Path(source)
    if path.is_dir():
        raise BarsError(f"{path} is a folder; name one CSV or parquet file in it")
    if not path.exists():
        raise BarsError(f"no file {path}; check the path")
    try:
        frame = read_parquet(path) if path.suffix.lower() in PARQUET else read_csv(path)
    except OSError as error:
        raise BarsError(f"can't read {path}: {error.strerror or error}; check the file") from None
    bars = validate_bars(frame, path.name)
    bars.attrs["symbol"] = symbol or path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return bars


def validate_bars(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a price table as bars, or refuse it.

    Parameters
    ----------
    frame : DataFrame
        As ``load_bars`` takes it; left unchanged.
    name : str
        How messages call it, and ``attrs["symbol"]`` of the result.

    Returns
    -------
    DataFrame of shape (T, 5)
        A new frame. Where rounding puts open or close outside high and low by less than one part
        in 1e9, high and low are widened.

    Raises
    ------
    BarsError
        If a column is missing; dates repeat or descend; a price is missing, infinite or not
        positive; high, low, open and close contradict each other; a volume is missing, infinite
        or negative.
    """
    bars = spelled(frame, name)
    _check_dates(bars.index, name)
    for column in COLUMNS:
        values = bars[column].to_numpy()
        _refuse(np.isnan(values), bars, column, "missing (NaN)", name)
        _refuse(np.isinf(values), bars, column, "infinite", name)
        if column == "volume":
            _refuse(values < 0, bars, column, "negative", name)
        else:
            _refuse(values <= 0, bars, column, "not positive", name)
    _check_range(bars, name)
    bars["high"] = bars[list(PRICES)].max(axis=1)
    bars["low"] = bars[list(PRICES)].min(axis=1)
    bars.attrs["symbol"] = name
    return bars


def periods_per_year(index: pd.DatetimeIndex) -> int:
    """Return the trading days of a year: 365 if Saturdays occur, else 252."""
    return 365 if bool((index.day_of_week == 5).any()) else 252


def _place(bars: pd.DataFrame, row: int, name: str) -> str:
    """Return how a message points at a row: counted from 1 below the header, and its date."""
    return f"row {row + 1} ({_day(bars.index[row])}) of {name}"


def _day(time: pd.Timestamp) -> str:
    return time.isoformat(sep=" ").removesuffix(" 00:00:00")


def _refuse(
    wrong: NDArray[np.bool_], bars: pd.DataFrame, column: str, what: str, name: str
) -> None:
    """Raise BarsError for the first row where ``wrong`` is true."""
    if wrong.any():
        row = int(wrong.argmax())
        raise BarsError(
            f"{_place(bars, row, name)}: {column} is {what} ({bars[column].iloc[row]:g}); correct "
            "or drop the row"
        )


def _check_dates(index: pd.Index, name: str) -> None:
    """Raise BarsError unless the dates ascend without repetition."""
    repeated = index.duplicated()
    if repeated.any():
        row = int(repeated.argmax())
        raise BarsError(
            f"row {row + 1} of {name} repeats the date {_day(index[row])}; keep one row per date"
        )
    back = np.flatnonzero(np.diff(index.to_numpy()) < np.timedelta64(0))
    if len(back):
        row = int(back[0]) + 1
        raise BarsError(
            f"row {row + 1} of {name}: {_day(index[row])} comes after {_day(index[row - 1])}; sort "
            "the rows by date"
        )


def _check_range(bars: pd.DataFrame, name: str) -> None:
    """Raise BarsError unless low <= open, close <= high, up to rounding."""
    high, low = bars["high"].to_numpy(), bars["low"].to_numpy()
    crossed = high < low * (1.0 - DUST)
    if crossed.any():
        row = int(crossed.argmax())
        raise BarsError(
            f"{_place(bars, row, name)}: high {high[row]:g} is below low {low[row]:g}; correct or "
            "drop the row"
        )
    for column in ("open", "close"):
        values = bars[column].to_numpy()
        outside = (values > high * (1.0 + DUST)) | (values < low * (1.0 - DUST))
        if outside.any():
            row = int(outside.argmax())
            raise BarsError(
                f"{_place(bars, row, name)}: {column} {values[row]:g} is outside low {low[row]:g} "
                f"to high {high[row]:g}; correct or drop the row"
            )
