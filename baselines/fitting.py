"""From prices to a fitted baseline, as the command line asks for it."""

from __future__ import annotations

import pandas as pd

from baselines.baseline import Baseline, Frames, by_split


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
        If no asset has bars on both sides.
    """
    if not baseline.learns:
        return baseline
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
