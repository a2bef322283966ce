"""Simulated markets whose regimes decide which expert is right; the truth is returned too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

REGIMES = ("up", "down", "reversion", "breakout")

QUIET = 0.35  # volatility of the quiet bars, in normal ones
PULL = 0.15  # share of the distance to the anchor that a mean-reverting bar takes back
BURST = 0.6  # drift of a run, in daily volatilities
TAILS = 5.0  # degrees of freedom of the shocks
OVERNIGHT = 0.2  # share of a bar's variance that falls between close and open
INTRADAY = 0.65  # deviation of the path inside a bar; gives high over low as wide as AAPL's


class _Phase(NamedTuple):
    """Where a breakout market stands: quiet, or running in a direction."""

    left: int  # bars until it changes
    direction: int  # 0 quiet, else the sign of the run
    fresh: bool  # the bar that breaks out


def regime_path(
    rng: np.random.Generator, bars: int, stay: float, names: tuple[str, ...]
) -> list[str]:
    """Return the regime of each bar: a Markov chain with geometric stays of mean ``stay``."""
    draws = rng.random((bars, 2))
    current = names[int(draws[0, 1] * len(names))]
    path: list[str] = []
    for leave, which in draws:
        if leave < 1.0 / stay and len(names) > 1 and path:
            others = [name for name in names if name != current]
            current = others[int(which * len(others))]
        path.append(current)
    return path


def _next_phase(phase: _Phase, draw: float) -> _Phase:
    """Return the phase of the next bar: 30 to 60 quiet bars, then a run of 12 to 24."""
    if phase.left > 0:
        return phase._replace(left=phase.left - 1, fresh=False)
    if phase.direction:
        return _Phase(30 + int(30 * draw), 0, False)
    sign = 1 if draw < 0.5 else -1
    return _Phase(12 + int(12 * (2.0 * draw % 1.0)), sign, True)


def _log_closes(
    rng: np.random.Generator, regimes: list[str], daily: float, drift: float
) -> tuple[Array, Array, Array]:
    """Return per bar the log close from 0, the volatility and what the regime does to volume."""
    bars = len(regimes)
    shocks = rng.standard_t(TAILS, bars) * math.sqrt((TAILS - 2.0) / TAILS)
    closes, deviations, crowd = np.zeros(bars), np.zeros(bars), np.ones(bars)
    clustering = rng.standard_normal(bars)
    draws = rng.random(bars)
    level, anchor, cluster, before = 0.0, 0.0, 0.0, ""
    phase = _Phase(0, 1, False)
    for t, regime in enumerate(regimes):
        if regime != before:
            anchor, before, phase = level, regime, _Phase(0, 1, False)  # a breakout starts quiet
        cluster = 0.97 * cluster + 0.06 * clustering[t]
        deviation = daily * math.exp(cluster)
        move = deviation * shocks[t]
        if regime == "reversion":
            move += PULL * (anchor - level)
        elif regime == "breakout":
            phase = _next_phase(phase, draws[t])
            if phase.direction:
                move += phase.direction * daily * (3.0 if phase.fresh else BURST)
                crowd[t] = 4.0 if phase.fresh else 1.6
                anchor = level + move
            else:
                deviation *= QUIET
                move = deviation * shocks[t] + PULL * (anchor - level)
                crowd[t] = 0.6
        else:
            move += drift * daily * (1.0 if regime == "up" else -1.0)
        level += move
        closes[t], deviations[t] = level, deviation
    return closes, deviations, crowd


def _bridge(rng: np.random.Generator, first: Array, last: Array, deviation: Array) -> Array:
    """Return the highest log price of a Brownian path from ``first`` to ``last``, drawn exactly."""
    chance = 1.0 - rng.random(len(first))
    reach = np.sqrt((last - first) ** 2 - 2.0 * deviation**2 * np.log(chance))
    return (first + last + reach) / 2.0


def log_prices(
    rng: np.random.Generator, first: float, log_close: Array, deviation: Array
) -> dict[str, Array]:
    """Return open, high, low and close: a gap overnight, then a Brownian path to the close."""
    before = np.concatenate(([first], log_close[:-1]))
    gap = math.sqrt(OVERNIGHT) * deviation * rng.standard_normal(len(log_close))
    log_open = before + gap + OVERNIGHT * (log_close - before - gap)
    inside = INTRADAY * deviation
    log_high = _bridge(rng, log_open, log_close, inside)
    log_low = -_bridge(rng, -log_open, -log_close, inside)
    return {
        "open": np.exp(log_open),
        "high": np.exp(np.maximum(log_high, np.maximum(log_open, log_close))),
        "low": np.exp(np.minimum(log_low, np.minimum(log_open, log_close))),
        "close": np.exp(log_close),
    }


def check_regimes(regimes: Sequence[str], known: Iterable[str], bars: int, stay: float) -> None:
    """Raise ValueError unless regimes are known and counts can be used."""
    unknown = [name for name in regimes if name not in known]
    if unknown or not regimes:
        raise ValueError(f"no regimes {unknown}; choose one or more of {', '.join(known)}")
    if bars < 1 or stay < 1.0:
        raise ValueError(f"bars and stay must be at least 1; got {bars} and {stay}")


def on_business_days(
    prices: Mapping[str, Array], path: Sequence[str], start: str, symbol: str
) -> tuple[pd.DataFrame, pd.Series]:
    """Return prices as bars, and the regime of each, on the business days from ``start`` on."""
    days = pd.bdate_range(start, periods=len(path))
    index = pd.DatetimeIndex(days.to_numpy("datetime64[ns]"), name="date")  # without a frequency
    frame = pd.DataFrame(prices, index=index)
    frame.attrs["symbol"] = symbol
    return frame, pd.Series(path, index=index, name="regime", dtype="str")


def simulated_bars(
    seed: int,
    bars: int = 2000,
    start: str = "2000-01-03",
    stay: float = 500.0,
    drift: float = 0.15,
    regimes: tuple[str, ...] = REGIMES,
) -> tuple[pd.DataFrame, pd.Series]:
    """Return the bars of a regime-switching market and the true regime of each bar.

    The regimes are ``up`` and ``down`` (a steady drift), ``reversion`` (the log price is pulled
    back to where the regime began) and ``breakout`` (30 to 60 quiet bars on low volume, then a
    jump on high volume in a random direction and a run of 12 to 24 bars that follows it). Daily
    volatility is drawn between 0.8 % and 2.5 % per market, clusters, and has fat tails.

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
    drift : float
        Drift of ``up`` and ``down`` per bar, in daily volatilities.
    regimes : tuple of str
        The regimes that occur; one name gives a market that never switches.

    Returns
    -------
    bars : DataFrame of shape (T, 5)
        ``open high low close volume``; ``attrs["symbol"]`` is ``SIM`` and the seed.
    regime : Series of str of shape (T,)
        On the same index.

    Raises
    ------
    ValueError
        If a regime is unknown, ``bars`` is below 1 or ``stay`` below 1.
    """
    check_regimes(regimes, REGIMES, bars, stay)
    rng, rng_regimes, rng_closes, rng_shape, rng_volume = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)
    )
    daily = math.exp(rng.uniform(math.log(0.008), math.log(0.025)))
    first = math.log(10.0) + rng.uniform() * math.log(30.0)
    usual_volume = math.exp(rng.uniform(math.log(1e6), math.log(1e8)))

    path = regime_path(rng_regimes, bars, stay, regimes)
    log_close, deviation, crowd = _log_closes(rng_closes, path, daily, drift)
    log_close += first
    prices = log_prices(rng_shape, first, log_close, deviation)
    noise = np.exp(0.3 * rng_volume.standard_normal(bars))
    moves = np.abs(np.diff(log_close, prepend=first))
    activity = 0.6 + 0.4 * moves / daily
    prices["volume"] = np.round(usual_volume * noise * activity * crowd)
    return on_business_days(prices, path, start, f"SIM{seed}")
