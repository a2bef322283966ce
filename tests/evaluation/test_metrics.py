import numpy as np
import pandas as pd
import pytest
import quantstats

from mmdrex.evaluation import metrics

RETURNS = pd.Series(
    np.random.default_rng(0).standard_t(4, 1000) * 0.01 + 0.0004,
    index=pd.bdate_range("2015-01-01", periods=1000),
)


def test_total_return_of_ten_percent_up_and_down_is_minus_one_percent():
    assert metrics.total_return([0.1, -0.1]) == pytest.approx(-0.01)


def test_sharpe_is_mean_over_deviation_times_root_of_the_year():
    # By hand: mean 0.01, deviation with ddof 1 sqrt(0.0002).
    assert metrics.raw_sharpe([0.02, 0.0]) == pytest.approx(0.01 / np.sqrt(0.0002))
    assert metrics.sharpe([0.02, 0.0], 252) == pytest.approx(0.01 / np.sqrt(0.0002) * np.sqrt(252))


def test_sharpe_of_constant_returns_is_unknown():
    assert np.isnan(metrics.sharpe(np.zeros(10), 252))


def test_drawdown_is_positive_and_measured_from_the_first_capital():
    assert metrics.max_drawdown([-0.2, 0.1, 0.5]) == pytest.approx(0.2)
    assert metrics.max_drawdown([0.5, -0.5, 0.2]) == pytest.approx(0.5)
    assert metrics.max_drawdown([0.1, 0.2]) == 0.0


@pytest.mark.parametrize("periods", [252, 365])
def test_figures_equal_quantstats(periods):
    stats = quantstats.stats
    figures = metrics.summary(RETURNS, periods)
    assert figures["TR"] == pytest.approx(stats.comp(RETURNS), rel=1e-12)
    assert figures["Sharpe"] == pytest.approx(stats.sharpe(RETURNS, periods=periods), rel=1e-12)
    assert figures["Sortino"] == pytest.approx(stats.sortino(RETURNS, periods=periods), rel=1e-12)
    assert figures["MDD"] == pytest.approx(-stats.max_drawdown(RETURNS), rel=1e-12)
    volatility = stats.volatility(RETURNS, periods=periods)
    assert figures["volatility"] == pytest.approx(volatility, rel=1e-12)
    assert figures["annual return"] == pytest.approx(stats.cagr(RETURNS, periods=periods), rel=1e-9)
    calmar = stats.calmar(RETURNS, periods=periods)
    assert figures["Calmar"] == pytest.approx(calmar, rel=1e-9)


def test_equity_below_zero_is_a_total_loss_that_ends_the_run():
    returns = metrics.equity_returns([100.0, 120.0, -30.0, -10.0, 40.0])
    np.testing.assert_allclose(returns, [0.2, -1.0, 0.0, 0.0])
    assert metrics.total_return(returns) == -1.0
    assert metrics.max_drawdown(returns) == 1.0
    assert metrics.annual_return(returns, 252) == -1.0


def test_turnover_sums_all_changes_of_the_target_from_zero():
    # 0.5 bought, 1.0 sold, 0.5 bought back: 2.0 in half a year of 252 bars.
    target = np.repeat([0.5, -0.5, 0.0], 42)
    assert metrics.turnover(target, 252) == pytest.approx(4.0)


def test_exposure_counts_shorts_and_net_exposure_sets_them_off():
    assert metrics.exposure([0.5, -0.5, 0.0, 1.0]) == 0.5
    assert metrics.net_exposure([0.5, -0.5, 0.0, 1.0]) == 0.25
