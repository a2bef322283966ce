"""Tests made for many strategies at once: SPA, the model confidence set, deflated Sharpe."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pandas as pd
from arch.bootstrap import MCS, SPA
from numpy.typing import ArrayLike

from mmdrex.evaluation.intervals import block_length
from mmdrex.evaluation.metrics import raw_sharpe

_EULER = 0.5772156649015329


def spa(returns: pd.DataFrame, benchmark: pd.Series, samples: int = 1000, seed: int = 42) -> float:
    """Return the p-value that no strategy has a higher mean return than the benchmark.

    Hansen's test for superior predictive ability (2005), its consistent version.

    Parameters
    ----------
    returns : DataFrame of shape (T, n)
        One column per strategy.
    benchmark : Series of shape (T,)
    samples : int
    seed : int
    """
    block = block_length(returns.sub(benchmark, axis=0))
    test = SPA(-benchmark, -returns, block_size=block, reps=samples, seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])


def model_confidence_set(
    returns: pd.DataFrame, size: float = 0.1, samples: int = 1000, seed: int = 42
) -> list[str]:
    """Return the strategies that cannot be told from the best one (Hansen, Lunde, Nason, 2011).

    Parameters
    ----------
    returns : DataFrame of shape (T, n)
        One column per strategy, each pair of them different.
    size : float
        The set holds the best strategy with probability 1 - ``size``.
    samples : int
    seed : int
    """
    test = MCS(-returns, size=size, reps=samples, block_size=block_length(returns), seed=seed)
    test.compute()
    return [str(name) for name in returns.columns if name in set(test.included)]


def deflated_sharpe(returns: ArrayLike, trials: ArrayLike) -> float:
    """Return the probability that the Sharpe ratio beats the best of as many lucky trials.

    Bailey and Lopez de Prado (2014).

    Parameters
    ----------
    returns : array_like of shape (T,)
        Of the strategy that was chosen.
    trials : array_like of shape (N,)
        Raw Sharpe ratio per bar of every trial the choice was made among, at least two.

    Returns
    -------
    float
        In [0, 1]; NaN where all returns are equal.
    """
    values, ratios = np.asarray(returns, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    count, observed = len(ratios), raw_sharpe(values)
    normal = NormalDist()
    lucky = (1.0 - _EULER) * normal.inv_cdf(1.0 - 1.0 / count) + _EULER * normal.inv_cdf(
        1.0 - 1.0 / (count * np.e)
    )
    expected = ratios.std(ddof=1) * lucky
    scaled = (values - values.mean()) / values.std()
    skewness, kurtosis = (scaled**3).mean(), (scaled**4).mean()
    spread = 1.0 - skewness * observed + (kurtosis - 1.0) / 4.0 * observed**2
    return float(normal.cdf((observed - expected) * np.sqrt((len(values) - 1) / spread)))
