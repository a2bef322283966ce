"""The table of sources: where bars come from, by name."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from mmdrex.data.bars import load_bars
from mmdrex.data.sample import sample_bars
from mmdrex.data.simulated import simulated_bars
from mmdrex.data.yahoo import yahoo_bars


def _simulated(seed: str) -> pd.DataFrame:
    """Return the bars of the simulated market with this seed."""
    return simulated_bars(int(seed))[0]


# Each takes one text: a path, a sample's name, a ticker, a seed.
SOURCES: dict[str, Callable[[str], pd.DataFrame]] = {
    "csv": load_bars,
    "parquet": load_bars,
    "sample": sample_bars,
    "yahoo": yahoo_bars,
    "simulated": _simulated,
}
