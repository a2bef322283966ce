"""Source ``sample``: real prices that ship inside the ``arch`` package."""

from __future__ import annotations

from importlib import import_module

import pandas as pd

from mmdrex.data.bars import validate_bars
from strategies.rule import did_you_mean

SAMPLES = ("sp500", "nasdaq")


def sample_bars(name: str) -> pd.DataFrame:
    """Return daily bars of an index, 1999-01-04 to 2018-12-31 (T = 5031).

    Parameters
    ----------
    name : str
        ``"sp500"`` or ``"nasdaq"``. Both carry volume; their adjusted close equals the close.

    Raises
    ------
    ValueError
        If there is no such sample.
    """
    if name not in SAMPLES:
        raise ValueError(
            f"no sample {name!r}; there are {', '.join(SAMPLES)}.{did_you_mean(name, SAMPLES)}"
        )
    return validate_bars(import_module(f"arch.data.{name}").load(), name)
