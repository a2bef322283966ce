"""From the usual spellings of a price table to one: lower-case columns on naive dates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.errors import BarsError

Array = NDArray[np.float64]

COLUMNS = ("open", "high", "low", "close", "volume")
DATES = ("date", "timestamp", "datetime", "time", "day", "index", "unnamed: 0")
ADJUSTED = ("adj close", "adjclose", "adjusted close", "close adj")
_EPOCHS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (9e18, "ns"))
_OFFSET = r"(?<=\d\d:\d\d)((?::\d\d(?:\.\d+)?)?)\s*(?:Z|UTC|[+-]\d\d:?\d\d)$"


def _plain(label: object) -> str:
    """Return a column's name in lower case, with blanks for underscores, dots and hyphens."""
    text = str(label).strip().lower()
    for sign in "_.-*":
        text = text.replace(sign, " ")
    return " ".join(text.split())


def _flat_columns(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the frame without yfinance's second column level, the ticker."""
    if frame.columns.nlevels == 1:
        return frame
    for level in range(frame.columns.nlevels):
        labels = [_plain(label) for label in frame.columns.get_level_values(level)]
        if "close" in labels:
            if labels.count("close") > 1:
                raise BarsError(f"{name} holds several assets; pass one of them at a time")
            flat = frame.copy(deep=False)
            flat.columns = frame.columns.get_level_values(level)
            return flat
    raise BarsError(f"no column 'close' in {name}; found {list(frame.columns)}")


def _found(columns: dict[str, list[object]]) -> str:
    return ", ".join(columns) or "no columns"


def _integer_dates(values: pd.Series, name: str) -> pd.DatetimeIndex:
    """Return dates from integers such as 20200103, or from seconds to nanoseconds since 1970."""
    smallest, largest = float(values.min()), float(values.max())
    if smallest >= 19000101 and largest <= 22001231:
        return pd.DatetimeIndex(
            pd.to_datetime(values.astype("int64").astype("str"), format="%Y%m%d")
        )
    if not (smallest >= 1e8 and largest < _EPOCHS[-1][0]):
        raise BarsError(
            f"the dates of {name} are numbers from {smallest:g} to {largest:g}; write them as "
            "YYYY-MM-DD"
        )
    unit = next(unit for limit, unit in _EPOCHS if largest < limit)
    return pd.DatetimeIndex(values.to_numpy(dtype=f"datetime64[{unit}]"))


def _text_dates(values: pd.Series, name: str) -> pd.DatetimeIndex:
    """Return dates from ISO text; of a time with an offset the wall clock is kept."""
    text = values.astype("str").str.strip()
    text = text.str.replace(_OFFSET, r"\1", regex=True).str.replace("/", "-", regex=False)
    dates = pd.to_datetime(text, format="ISO8601", errors="coerce")
    wrong = np.flatnonzero(dates.isna())
    if len(wrong):
        row = int(wrong[0])
        raise BarsError(
            f"row {row + 1} of {name}: the date {values.iloc[row]!r} is not of the form "
            "YYYY-MM-DD; write all dates so"
        )
    return pd.DatetimeIndex(dates)


def naive_dates(values: pd.Series, name: str) -> pd.DatetimeIndex:
    """Return tz-naive dates, in nanoseconds; a time zone is dropped and the wall clock kept.

    Times of day are dropped too where every bar has a day of its own.
    """
    missing = np.flatnonzero(values.isna())
    if len(missing):
        raise BarsError(f"row {missing[0] + 1} of {name} has no date; fill it in or drop the row")
    if isinstance(values.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(values):
        index = pd.DatetimeIndex(values)
    elif pd.api.types.is_numeric_dtype(values):
        index = _integer_dates(values, name)
    else:
        index = _text_dates(values, name)
    try:
        index = index.tz_localize(None).as_unit("ns")
    except pd.errors.OutOfBoundsDatetime:
        raise BarsError(
            f"{name} has dates before 1678 or after 2262; correct or drop those rows"
        ) from None
    days = index.normalize()
    # A new index: normalize infers a frequency, which stocks' calendars only seem to have.
    return pd.DatetimeIndex((days if days.is_unique else index).to_numpy())


def _dates(frame: pd.DataFrame, columns: dict[str, list[object]], name: str) -> pd.DatetimeIndex:
    """Return the dates: the index if it holds dates, else the date column, else a text index."""
    if isinstance(frame.index, pd.DatetimeIndex):
        return naive_dates(frame.index.to_series(), name)
    for spelling in DATES:
        if spelling in columns:
            return naive_dates(frame[columns[spelling][0]], name)
    if pd.api.types.is_numeric_dtype(frame.index) and frame.index.name is None:
        raise BarsError(
            f"no column 'date' in {name}; found {_found(columns)}: add one with dates such as "
            "2020-01-03"
        )
    return naive_dates(frame.index.to_series(), name)


def _numbers(values: pd.Series, column: str, name: str) -> Array:
    """Return a column as float64; a blank is NaN, text that is no number is refused."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.flatnonzero(np.isnan(numbers) & values.notna().to_numpy())
    if len(wrong):
        row = int(wrong[0])
        raise BarsError(
            f"row {row + 1} of {name}: {column} is {values.iloc[row]!r}, not a number; correct or "
            "drop the row"
        )
    return numbers


def _adjustment(adjusted: pd.Series, close: Array, name: str) -> Array:
    """Return adjusted close over close, shape (T,); 1 where the close itself is no price.

    A factor instead of the adjusted close itself: rounding then keeps high over close.
    """
    values = _numbers(adjusted, str(adjusted.name), name)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        row = int(wrong[0])
        raise BarsError(
            f"row {row + 1} of {name}: {adjusted.name} is {values[row]:g}, not a price; correct it "
            "or drop the column"
        )
    factor = np.ones_like(values)
    np.divide(values, close, out=factor, where=(close > 0) & np.isfinite(close))
    return factor


def spelled(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the five columns of a price table as float64 on tz-naive dates, unchecked otherwise.

    An adjusted close beside the close scales open, high, low and close alike, so that dividends
    (and splits) leave no jump in the returns; the volume stays as given.

    Parameters
    ----------
    frame : DataFrame
        Columns in any usual spelling; dates in a column or in the index.
    name : str
        How messages call the table.

    Raises
    ------
    BarsError
        If a column is missing or named twice, or a date or number can't be read.
    """
    frame = _flat_columns(frame, name)
    columns: dict[str, list[object]] = {}
    for label in frame.columns:
        columns.setdefault(_plain(label), []).append(label)
    for column in COLUMNS:
        if column not in columns:
            raise BarsError(f"no column {column!r} in {name}; found {_found(columns)}")
        labels = columns[column]
        if len(labels) > 1:
            raise BarsError(f"{name} has {len(labels)} columns {column!r}; keep one of {labels}")
    if frame.empty:
        raise BarsError(f"{name} has no rows; it needs one per trading day")
    values = {column: _numbers(frame[columns[column][0]], column, name) for column in COLUMNS}
    adjusted = next((columns[label][0] for label in ADJUSTED if label in columns), None)
    if adjusted is not None:
        factor = _adjustment(frame[adjusted], values["close"], name)
        for column in ("open", "high", "low", "close"):
            values[column] = values[column] * factor
    return pd.DataFrame(values, index=_dates(frame, columns, name).rename("date"))
