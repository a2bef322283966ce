import numpy as np
import pandas as pd
import pytest

from mmdrex.evaluation.metrics import raw_sharpe
from mmdrex.evaluation.significance import deflated_sharpe, model_confidence_set, spa

RNG = np.random.default_rng(0)
NOISE = pd.DataFrame(RNG.normal(0.0, 0.01, (1000, 5)), columns=list("abcde"))
BENCHMARK = pd.Series(RNG.normal(0.0, 0.01, 1000))


def test_spa_finds_the_strategy_that_earns_more():
    better = NOISE.assign(c=NOISE["c"] + 0.003)
    assert spa(better, BENCHMARK, samples=300) < 0.01
    assert spa(NOISE, BENCHMARK, samples=300) > 0.1


def test_confidence_set_keeps_the_best_and_drops_the_worst():
    ranked = NOISE.assign(b=NOISE["b"] + 0.003, d=NOISE["d"] - 0.003)
    kept = model_confidence_set(ranked, samples=300)
    assert "b" in kept
    assert "d" not in kept
    assert len(model_confidence_set(NOISE, samples=300)) >= 4


def test_deflated_sharpe_equals_the_papers_example():
    # Bailey and Lopez de Prado (2014), section "A numerical example": Sharpe 2.5 a year on 5 years
    # of 250 days, skewness -3, kurtosis 10, 100 trials with a variance of 0.5: 0.9004.
    returns = _returns(2.5 / np.sqrt(250), skewness=-3.0, kurtosis=10.0, days=1250)
    spread = np.sqrt(0.5 / 250)
    trials = np.random.default_rng(1).normal(size=100)
    trials = (trials - trials.mean()) / trials.std(ddof=1) * spread
    assert deflated_sharpe(returns, trials) == pytest.approx(0.9004, abs=5e-4)


def _returns(sharpe, skewness, kurtosis, days):
    """Returns with the given moments: three values, their shares solved from the moments."""
    # Mean 0, variance 1, third moment s, fourth moment k on the points (low, 0, high).
    # With kurtosis > skewness ** 2, low * high = skewness ** 2 - kurtosis, low + high = skewness.
    low, high = np.roots([1.0, -skewness, skewness**2 - kurtosis])[[0, 1]]
    shares = np.array([1 / (low * (low - high)), 1 / (high * (high - low))])
    counts = np.round(shares * 1_000_000).astype(int)
    values = np.repeat([low, high, 0.0], [*counts, 1_000_000 - counts.sum()])
    picked = np.sort(values)[np.linspace(0, 999_999, days).round().astype(int)]
    scaled = (picked - picked.mean()) / picked.std(ddof=1)
    return scaled + sharpe


def test_more_trials_deflate_more():
    returns = RNG.normal(0.001, 0.01, 1000)
    trials = RNG.normal(0.0, 0.03, 200)
    assert deflated_sharpe(returns, trials[:5]) > deflated_sharpe(returns, trials)
    assert raw_sharpe(returns) > 0
