"""Source ``parquet``: one row per bar, dates as a column or as the stored index."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pandas as pd

from mmdrex.errors import BarsError


def read_parquet(path: Path) -> pd.DataFrame:
    """Return the table of a parquet file as it stands.

    Raises
    ------
    BarsError
        If the file is damaged or not parquet.
    """
    content = BytesIO(path.read_bytes())
    try:
        return pd.read_parquet(content)
    except (OSError, ValueError, KeyError):  # damaged; another kind; damaged metadata
        raise BarsError(f"{path} is not a whole parquet file; write it again") from None
