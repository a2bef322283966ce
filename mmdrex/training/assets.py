"""A folder of prices, and which of its assets reading charts is tested on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from mmdrex.data.bars import load_bars
from mmdrex.errors import BarsError

NOT_PRICES = ("manifest.csv",)
# Never seen while learning to read charts, two or three of each market, so that the figures are
# those of a reader that meets a new asset.
HELD_OUT = (
    *("AAPL", "META", "COST", "600519", "300750", "SPY", "GLD", "ETH", "IF", "CU", "A", "TA"),
)


def load_folder(folder: str | Path) -> dict[str, pd.DataFrame]:
    """Return the bars of every CSV file below a folder, by symbol.

    The symbol is the file's name, with its folder's before it where two files share one.

    Raises
    ------
    BarsError
        If there is no price file, or one that can't be used.
    """
    files = sorted(path for path in Path(folder).rglob("*.csv") if path.name not in NOT_PRICES)
    if not files:
        raise BarsError(f"no .csv file of prices below {folder}; give the folder that holds them")
    count = Counter(path.stem for path in files)
    symbols = [p.stem if count[p.stem] == 1 else f"{p.parent.name}/{p.stem}" for p in files]
    return {name: load_bars(path, name) for name, path in zip(symbols, files, strict=True)}
