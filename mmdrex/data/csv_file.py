"""Source ``csv``: a text file with a header line, one row per bar."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmdrex.errors import BarsError


def read_csv(path: Path) -> pd.DataFrame:
    """Return the table of a CSV file as it stands, compressed or not.

    Raises
    ------
    BarsError
        If the file is empty, is not text or has ragged rows.
    """
    try:
        frame = pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise BarsError(f"{path} is empty; it needs a header line and one row per bar") from None
    except UnicodeDecodeError:
        raise BarsError(f"{path} is not a text file; save it as CSV in UTF-8") from None
    except pd.errors.ParserError as error:
        reason = str(error).replace("Error tokenizing data. C error: ", "").strip()
        raise BarsError(f"{path} is not a table: {reason}; correct that row") from None
    if any("\0" in str(label) for label in frame.columns):
        raise BarsError(f"{path} is not a text file; save it as CSV in UTF-8")
    return frame
