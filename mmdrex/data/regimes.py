"""Simulated markets of four regimes, one for each expert: the right answer of a router is known.

``simulated_bars`` asks whether a router can tell drifts, ranges and breakouts apart; here each
regime is a market in which one expert's rules earn the most, so that a router can be scored. The
parameters were fixed before any router was trained on them; ``benchmarks/regimes.py`` shows what
they were chosen for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.data.simulated import TAILS, check_regimes, log_prices, on_business_days, regime_path

Array = NDArray[np.float64]

FOREVER = (1_000_000, 1_000_001)
NEVER = (0, 0)
JITTER = 0.08  # by which a market's volatilities leave those of the table, either way
CLUSTERING = (0.97, 0.03)  # persistence and shock of the log volatility


class Regime(NamedTuple):
    """How prices move while a regime lasts: pauses and runs take turns."""

    volatility: float  # deviation of a bar's shock
    pause: tuple[int, int] = NEVER  # bars, from and up to
    run: tuple[int, int] = NEVER
    direction: int = 0  # of every run; 0: drawn for each
    drift: float = 0.0  # of a run per bar, in volatilities
    jump: float = 0.0  # the first bar of a run in place of the drift
    grip: float = 0.0  # share of the distance to a run's line that a bar takes back
    quiet: float = 1.0  # volatility of a pause, in that of a run
    pull: float = 0.0  # share of the distance to where it began that a pause takes back per bar
    inertia: float = 0.0  # share of the last bar's pull that goes on
    crowd: tuple[float, float, float] = (1.0, 1.0, 1.0)  # volume: pause, first bar of a run, run
    activity: float = 0.4  # share of the volume that goes with the size of the move
    noise: float = 0.15  # deviation of the log volume


# Each is named after the expert that is right in it.
REGIMES: dict[str, Regime] = {
    # Long legs up or down that noise leaves and returns to: breakouts are stopped out on the way.
    "trend": Regime(0.028, run=(80, 130), drift=0.24, grip=0.25, noise=0.4),
    # Swings around a level.
    "reversal": Regime(0.015, pause=FOREVER, pull=0.22, inertia=0.4, noise=0.3),
    # False breaks on low volume, then a true one on high volume and a short run.
    "breakout": Regime(
        0.024,
        pause=(35, 48),
        run=(6, 10),
        drift=0.47,
        jump=3.0,
        quiet=0.75,
        pull=0.28,
        inertia=0.2,
        crowd=(0.8, 5.0, 2.8),
        activity=0.05,
    ),
    # A quiet rise, too slow for the thresholds of the other rules.
    "position": Regime(0.0105, run=FOREVER, direction=1, drift=0.13, grip=0.1),
}


class _Phase(NamedTuple):
    """Where a market stands in its turns."""

    left: int  # bars until the next turn
    direction: int  # 0 in a pause
    fresh: bool  # the first bar of a run


def _turn(phase: _Phase, regime: Regime, begins: bool, draws: Array) -> _Phase:
    """Return the phase of the next bar; a regime that has pauses begins with one."""
    if not begins and phase.left > 0:
        return phase._replace(left=phase.left - 1, fresh=False)
    pauses = regime.pause != NEVER and (begins or phase.direction != 0)
    shortest, longest = regime.pause if pauses else regime.run
    left = shortest + int((longest - shortest) * draws[0]) - 1
    if pauses:
        return _Phase(left, 0, False)
    return _Phase(left, regime.direction or (1 if draws[1] < 0.5 else -1), True)


def _walk(
    rng: np.random.Generator, path: list[str], scale: float
) -> tuple[Array, Array, Array, Array]:
    """Return per bar the log close from 0, the deviation, the size of a usual move, the crowd."""
    bars = len(path)
    shocks = rng.standard_t(TAILS, bars) * math.sqrt((TAILS - 2.0) / TAILS)
    clustering = rng.standard_normal(bars)
    draws = rng.random((bars, 2))
    closes, deviations, usual, crowd = np.zeros(bars), np.zeros(bars), np.zeros(bars), np.ones(bars)
    level = anchor = push = cluster = 0.0
    phase, before = _Phase(0, 0, False), ""
    for t, name in enumerate(path):
        regime = REGIMES[name]
        if name != before:
            anchor, push = level, 0.0
        phase = _turn(phase, regime, name != before, draws[t])
        before = name
        cluster = CLUSTERING[0] * cluster + CLUSTERING[1] * clustering[t]
        usual[t] = scale * regime.volatility
        deviations[t] = usual[t] * math.exp(cluster)
        if phase.direction:
            pace = regime.jump if phase.fresh and regime.jump else regime.drift
            drift = phase.direction * usual[t] * pace
            move = drift + regime.grip * (anchor - level)
            anchor = anchor + drift if regime.grip else level + drift
            crowd[t] = regime.crowd[1 if phase.fresh else 2]
        else:
            deviations[t] *= regime.quiet
            move = push = regime.inertia * push + regime.pull * (anchor - level)
            crowd[t] = regime.crowd[0]
        level += move + deviations[t] * shocks[t]
        if phase.direction and not regime.grip:
            anchor = level
        closes[t] = level
    return closes, deviations, usual, crowd


def regime_bars(
    seed: int,
    bars: int = 2000,
    start: str = "2000-01-03",
    stay: float = 500.0,
    regimes: tuple[str, ...] = tuple(REGIMES),
) -> tuple[pd.DataFrame, pd.Series]:
    """Return the bars of a market that switches among ``REGIMES``, and the regime of each bar.

    Parameters
    ----------
    seed : int
        The same seed gives the same market.
    bars : int
        T, number of business days.
    start : str
        First day, moved to the next business day.
    stay : float
        Mean number of bars in a regime; stays are geometric.
    regimes : tuple of str
        The regimes that occur; one name gives a market that never switches.

    Returns
    -------
    bars : DataFrame of shape (T, 5)
        ``open high low close volume``; ``attrs["symbol"]`` is ``REG`` and the seed.
    regime : Series of str of shape (T,)
        On the same index.

    Raises
    ------
    ValueError
        If a regime is unknown, ``bars`` is below 1 or ``stay`` below 1.
    """
    check_regimes(regimes, REGIMES, bars, stay)
    rng, rng_regimes, rng_closes, rng_shape, rng_volume = (
        np.random.default_rng(child) for child in np.random.SeedSequence([seed, 4]).spawn(5)
    )
    scale = math.exp(rng.uniform(-JITTER, JITTER))
    first = math.log(10.0) + rng.uniform() * math.log(30.0)
    usual_volume = math.exp(rng.uniform(math.log(1e6), math.log(1e8)))

    path = regime_path(rng_regimes, bars, stay, regimes)
    closes, deviations, usual, crowd = _walk(rng_closes, path, scale)
    log_close = closes + first
    prices = log_prices(rng_shape, first, log_close, deviations)
    activity, noise = (
        np.array([getattr(REGIMES[name], field) for name in path])
        for field in ("activity", "noise")
    )
    moves = np.abs(np.diff(log_close, prepend=first)) / usual
    ragged = np.exp(noise * rng_volume.standard_normal(bars))
    prices["volume"] = np.round(usual_volume * ragged * (1.0 - activity + activity * moves) * crowd)
    return on_business_days(prices, path, start, f"REG{seed}")
