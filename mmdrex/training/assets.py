"""A folder or file of prices, and which of its assets reading charts is tested on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mmdrex.data.bars import load_bars
from mmdrex.data.simulated import simulated_bars
from mmdrex.errors import BarsError
from strategies.rule import did_you_mean

NOT_PRICES = ("manifest.csv",)
# Never seen while learning to read charts, two or three of each market, so that the figures are
# those of a reader that meets a new asset.
HELD_OUT = (
    *("AAPL", "META", "COST", "600519", "300750", "SPY", "GLD", "ETH", "IF", "CU", "A", "TA"),
)

# Simulated markets: seeds that stage 0 has not seen, days that reach through every split.
FIRST_SEED, START = 5000, "2016-01-04"


def training_assets(source: str) -> dict[str, pd.DataFrame]:
    """Return the bars of a folder of prices, or of ``simulated:COUNT`` markets, by symbol."""
    kind, colon, count = source.partition(":")
    if kind != "simulated" or not colon:
        return load_folder(source)
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(f"{source}: simulated needs how many markets: simulated:40")
    seeds = range(FIRST_SEED, FIRST_SEED + int(count))
    return {f"SIM{seed}": simulated_bars(seed, start=START)[0] for seed in seeds}


def licensed(source: str) -> bool:
    """Return whether prices of this source may be under a licence: all but simulated ones."""
    return not source.startswith("simulated:")


def contents(assets: Mapping[str, pd.DataFrame]) -> list[str | bytes]:
    """Return symbols, days and prices, for a digest."""
    parts: list[str | bytes] = []
    for symbol, bars in assets.items():
        parts += [symbol, pd.DatetimeIndex(bars.index).to_numpy("datetime64[ns]").tobytes()]
        parts += [bars[name].to_numpy(np.float64).tobytes() for name in bars.columns]
    return parts


def load_folder(folder: str | Path) -> dict[str, pd.DataFrame]:
    """Return the bars of every CSV file below a folder, by symbol; a file is one asset.

    The symbol is the file's name, with its folder's before it where two files share one.

    Raises
    ------
    BarsError
        If there is no such folder, no price file in it, or one that can't be used.
    """
    place = Path(folder)
    if place.is_file():
        bars = load_bars(place)
        return {str(bars.attrs["symbol"]): bars}
    if not place.is_dir():
        beside = place.parent.iterdir() if place.parent.is_dir() else ()
        known = [f"simulated:{place.name.partition(':')[2]}", *map(str, beside)]
        if str(folder) in known:
            raise BarsError(f"{folder} is no folder; here real prices are wanted, in a folder")
        raise BarsError(
            f"no folder or file {folder}; give one that holds prices, or simulated:40."
            f"{did_you_mean(str(folder), known)}"
        )
    files = sorted(path for path in place.rglob("*.csv") if path.name not in NOT_PRICES)
    if not files:
        raise BarsError(f"no .csv file of prices below {folder}; give the folder that holds them")
    count = Counter(path.stem for path in files)
    symbols = [p.stem if count[p.stem] == 1 else f"{p.parent.name}/{p.stem}" for p in files]
    return {name: load_bars(path, name) for name, path in zip(symbols, files, strict=True)}
