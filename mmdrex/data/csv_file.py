"""Source ``csv``: a text file with a header line, one row per bar."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Literal

import pandas as pd

from mmdrex.errors import BarsError


def read_csv(path: Path) -> pd.DataFrame:
    """Return the table of a CSV file, plain or gzipped (``.gz``), as it stands.

    Raises
    ------
    BarsError
        If the file is empty, is not text, has ragged rows or names a column twice.
    """
    compression: Literal["gzip"] | None = "gzip" if path.suffix.lower() == ".gz" else None
    try:
        frame = pd.read_csv(
            path, encoding="utf-8-sig", skipinitialspace=True, compression=compression
        )
        # Read again as data: pandas renames the second of two equal names.
        header = pd.read_csv(
            path, encoding="utf-8-sig", header=None, nrows=1, dtype="str", compression=compression
        )
    except pd.errors.EmptyDataError:
        raise BarsError(f"{path} is empty; it needs a header line and one row per bar") from None
    except UnicodeDecodeError:
        raise BarsError(f"{path} is not a text file; save it as CSV in UTF-8") from None
    except (EOFError, zlib.error):
        raise BarsError(f"{path} is not a whole gzip file; compress it again") from None
    except pd.errors.ParserError as error:
        reason = str(error).replace("Error tokenizing data. C error: ", "").strip()
        raise BarsError(f"{path} is not a table: {reason}; correct that row") from None
    names = header.iloc[0].dropna().str.strip()
    if names.str.contains("\0", regex=False).any():
        raise BarsError(f"{path} is not a text file; save it as CSV in UTF-8")
    twice = names[names.duplicated()]
    if len(twice):
        raise BarsError(f"{path} has two columns {twice.iloc[0]!r}; keep one of them")
    return frame
