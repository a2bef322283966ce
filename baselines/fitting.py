"""From prices to fitted baselines, as the command line asks for them: one per market and seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from baselines.baseline import Baseline, Frames, by_split
from mmdrex.data.bars import load_bars, periods_per_year
from mmdrex.errors import BarsError

SUFFIXES = (".csv", ".parquet", ".pq")
NOT_PRICES = ("manifest.csv",)


def fit_baseline(baseline: Baseline, frames: Frames, select: str | None = None) -> Baseline:
    """Return the baseline, fitted on the earlier bars and chosen on the later ones.

    Parameters
    ----------
    baseline : Baseline
    frames : mapping of str to DataFrame of shape (T, 5)
        Bars of one market by symbol.
    select : str, optional
        First day of what it is chosen on; the calendar splits ``fit`` and ``select`` unless given.

    Raises
    ------
    ValueError
        If no asset has bars on both sides, or the assets are of several markets.
    """
    if type(baseline).fit is Baseline.fit:
        return baseline
    _check_market(frames)
    if select is None:
        train, chosen = by_split(frames)
    else:
        last = pd.Timestamp(select) - pd.Timedelta(days=1)
        train = {symbol: bars.loc[:last] for symbol, bars in frames.items() if len(bars.loc[:last])}
        chosen = {symbol: frames[symbol] for symbol in train}
    if all(len(chosen[symbol]) == len(train[symbol]) for symbol in train):
        first = min(bars.index[0] for bars in frames.values())
        last = max(bars.index[-1] for bars in frames.values())
        raise ValueError(
            f"{baseline.name} is fitted on some bars and chosen on later ones; these of "
            f"{first:%Y-%m-%d} to {last:%Y-%m-%d} do not hold both: give the first day of the "
            "later ones with --select"
        )
    return baseline.fit(train, chosen)


def _check_market(frames: Frames) -> None:
    """Raise ValueError where some assets trade at weekends and others don't."""
    weekly: dict[bool, str] = {}
    for symbol, bars in frames.items():
        weekly[periods_per_year(pd.DatetimeIndex(bars.index)) == 365] = symbol
    if len(weekly) > 1:
        raise ValueError(
            f"{weekly[True]} trades at weekends and {weekly[False]} does not: they are of two "
            "markets and their splits differ; fit a baseline on each, or give the folder above a "
            "folder per market"
        )


def markets_below(folder: str | Path) -> dict[str, dict[str, pd.DataFrame]]:
    """Return the bars of every price file below a folder, by market and symbol.

    A market is named after the folder its files lie in: ``prices/crypto/BTC.csv`` and
    ``prices/more/crypto/SOL.csv`` are both of ``crypto``.

    Raises
    ------
    BarsError
        If there is no price file, one that can't be used, or two of one name in a market.
    """
    markets: dict[str, dict[str, pd.DataFrame]] = {}
    for path in sorted(Path(folder).resolve().rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.name in NOT_PRICES:
            continue
        market = markets.setdefault(path.parent.name, {})
        bars = load_bars(path)
        symbol = str(bars.attrs["symbol"])
        if symbol in market:
            raise BarsError(f"{path.parent.name} has two files of {symbol}; rename one")
        market[symbol] = bars
    if not markets:
        raise BarsError(f"no price file below {folder}: CSV or Parquet")
    return markets


def folders(
    out: Path, markets: Iterable[str], seeds: Iterable[int]
) -> Mapping[tuple[str, int], Path]:
    """Return where each market's and seed's baseline goes: ``out``, or a folder of its own in it.

    Examples
    --------
    >>> [path.as_posix() for path in folders(Path("lgbm"), ["crypto"], [42, 43]).values()]
    ['lgbm/42', 'lgbm/43']
    """
    names, numbers = list(markets), list(seeds)
    return {
        (market, seed): out.joinpath(
            *[market] * (len(names) > 1), *[str(seed)] * (len(numbers) > 1)
        )
        for market in names
        for seed in numbers
    }
