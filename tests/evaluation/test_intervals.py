import numpy as np
import pytest

from mmdrex.evaluation.intervals import (
    block_length,
    headline_intervals,
    interval,
    sharpe_difference,
)


def test_interval_of_a_mean_is_that_of_the_normal_law():
    returns = np.random.default_rng(1).normal(0.0, 1.0, 2000)
    low, high = interval(returns, np.mean, samples=2000, block=1)
    deviation = returns.std(ddof=1) / np.sqrt(2000)
    assert low[0] == pytest.approx(returns.mean() - 1.96 * deviation, abs=0.1 * deviation)
    assert high[0] == pytest.approx(returns.mean() + 1.96 * deviation, abs=0.1 * deviation)


def test_interval_covers_the_truth_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        returns = np.random.default_rng(seed).normal(0.1, 1.0, 250)
        low, high = interval(returns, np.mean, level=0.9, samples=200, seed=seed, block=1)
        covered += bool(low[0] <= 0.1 <= high[0])
    assert 0.83 <= covered / 200 <= 0.96  # 90 % within three deviations, and a short sample's bias


def test_dependent_returns_ask_for_longer_blocks():
    rng = np.random.default_rng(2)
    shocks = rng.normal(size=2000)
    dependent = np.zeros(2000)
    for t in range(1, 2000):
        dependent[t] = 0.9 * dependent[t - 1] + shocks[t]
    assert block_length(shocks) < 10 < block_length(dependent)


def test_same_seed_gives_the_same_interval():
    returns = np.random.default_rng(3).normal(0.0, 0.01, 500)
    assert headline_intervals(returns, 252, samples=100) == headline_intervals(
        returns, 252, samples=100
    )
    assert headline_intervals(returns, 252, samples=100, seed=1) != headline_intervals(
        returns, 252, samples=100
    )


def test_run_that_never_moved_has_no_sharpe_interval():
    intervals = headline_intervals(np.zeros(300), 252, samples=50)
    assert intervals["TR"] == (0.0, 0.0)
    assert np.isnan(intervals["Sharpe"]).all()


def test_difference_of_a_run_with_itself_is_zero_as_days_are_paired():
    returns = np.random.default_rng(4).normal(0.0, 0.01, 500)
    assert sharpe_difference(returns, returns, 252, samples=100) == (0.0, 0.0)
    low, _ = sharpe_difference(returns + 0.002, returns, 252, samples=100)
    assert low > 0
