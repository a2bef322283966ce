"""Source ``parquet``: one row per bar, dates as a column or as the stored index."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmdrex.errors import BarsError


def read_parquet(path: Path) -> pd.DataFrame:
    """Return the table of a parquet file as it stands.

    Raises
    ------
    BarsError
        If the file is not parquet.
    """
    try:
        return pd.read_parquet(path)
    except ValueError:  # pyarrow's ArrowInvalid is one
        raise BarsError(f"{path} is not a parquet file; write it with to_parquet") from None
