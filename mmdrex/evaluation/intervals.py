"""Intervals of a run's figures by the stationary bootstrap (Politis and Romano, 1994)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from numpy.typing import ArrayLike, NDArray

from mmdrex.evaluation.metrics import max_drawdown, sharpe, total_return

Array = NDArray[np.float64]
Statistic = Callable[[Array], ArrayLike]


def block_length(returns: ArrayLike) -> int:
    """Return the mean block length for returns of shape (T,) or (T, n), at least 1 bar.

    The automatic choice of Politis and White (2004) as corrected in 2009; the longest of the
    columns. A column without variance asks for 1.
    """
    columns = np.asarray(returns, dtype=np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    moving = columns[:, np.ptp(columns, axis=0) > 0.0]
    if moving.shape[1] == 0:
        return 1
    return max(1, round(float(optimal_block_length(moving)["stationary"].max())))


def interval(
    returns: ArrayLike,
    statistic: Statistic,
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 42,
    block: int | None = None,
) -> tuple[Array, Array]:
    """Return the percentile interval (low, high) of a statistic of returns.

    Parameters
    ----------
    returns : array_like of shape (T,) or (T, n)
        Rows are drawn together, so that a difference of two columns stays paired.
    statistic : callable
        From returns to one figure or an array of figures; figures that are NaN in a sample are
        left out of it.
    level : float
        Share of the samples inside.
    samples : int
    seed : int
    block : int, optional
        Mean block length in bars; ``block_length(returns)`` unless given.
    """
    values = np.asarray(returns, dtype=np.float64)
    mean_block = block_length(values) if block is None else block
    bootstrap = StationaryBootstrap(mean_block, values, seed=np.random.default_rng(seed))
    drawn = bootstrap.apply(lambda rows: np.atleast_1d(statistic(rows)), samples)
    tail = (1.0 - level) / 2.0
    low, high = np.full((2, drawn.shape[1]), np.nan)
    known = ~np.isnan(drawn).all(axis=0)
    low[known], high[known] = np.nanquantile(drawn[:, known], [tail, 1.0 - tail], axis=0)
    return low, high


def headline_intervals(
    returns: ArrayLike, periods: int, level: float = 0.95, samples: int = 1000, seed: int = 42
) -> dict[str, tuple[float, float]]:
    """Return the intervals of TR, Sharpe and MDD (MM-DREX, eqs. D.1 to D.3), by name."""
    low, high = interval(
        returns,
        lambda rows: [total_return(rows), sharpe(rows, periods), max_drawdown(rows)],
        level,
        samples,
        seed,
    )
    names = ("TR", "Sharpe", "MDD")
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


def sharpe_difference(
    returns: ArrayLike,
    benchmark: ArrayLike,
    periods: int,
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 42,
) -> tuple[float, float]:
    """Return the interval of the Sharpe ratio over the benchmark's, days drawn in pairs."""
    low, high = interval(
        np.column_stack([returns, benchmark]),
        lambda rows: sharpe(rows[:, 0], periods) - sharpe(rows[:, 1], periods),
        level,
        samples,
        seed,
    )
    return float(low[0]), float(high[0])
