import numpy as np
import pandas as pd
import pytest

from mmdrex.data.bars import validate_bars
from mmdrex.data.simulated import REGIMES, simulated_bars
from strategies import POOL


def log_returns(bars):
    return np.log(bars.close).diff().dropna()


def test_same_seed_gives_the_same_market_and_another_seed_another():
    first, regime = simulated_bars(7)
    again, regime_again = simulated_bars(7)
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_series_equal(regime, regime_again)
    assert not np.allclose(first.close, simulated_bars(8)[0].close)


@pytest.mark.parametrize("seed", range(5))
def test_bars_pass_the_loaders_checks(seed):
    bars, regime = simulated_bars(seed)
    pd.testing.assert_frame_equal(validate_bars(bars, f"SIM{seed}"), bars)
    assert len(bars) == 2000 and regime.index.equals(bars.index)
    assert bars.index[0] == pd.Timestamp("2000-01-03")


def test_mean_stay_is_the_setting():
    changes = bars = 0
    for seed in range(10):
        _, regime = simulated_bars(seed, bars=5000, stay=100.0)
        changes += int((regime != regime.shift()).sum()) - 1
        bars += len(regime)
        assert set(regime) == set(REGIMES)
    # About 500 changes: a Poisson count with a deviation of 22.
    assert bars / changes == pytest.approx(100.0, rel=0.15)


def test_daily_volatility_is_that_of_real_assets():
    for seed in range(20):
        assert 0.006 < log_returns(simulated_bars(seed)[0]).std() < 0.045


@pytest.mark.parametrize(("regime", "sign"), [("up", 1.0), ("down", -1.0)])
def test_drift_points_where_the_regime_says(regime, sign):
    shares = []
    for seed in range(10):
        returns = log_returns(simulated_bars(seed, regimes=(regime,))[0])
        shares.append(sign * returns.mean() / returns.std())
    # 0.15 daily volatilities a bar; 10 x 2000 bars give a standard error of 0.007.
    assert np.mean(shares) == pytest.approx(0.15, abs=0.03)


def test_mean_reversion_takes_moves_back():
    ratios = []
    for seed in range(10):
        close = np.log(simulated_bars(seed, regimes=("reversion",))[0].close)
        ratios.append(close.diff(20).var() / (20 * close.diff().var()))
    # A variance ratio of 1 is a random walk; an AR(1) with 0.85 has
    # (1 - 0.85**20) / (20 * (1 - 0.85)) = 0.32.
    assert np.mean(ratios) == pytest.approx(0.32, abs=0.08)


def test_breakout_is_quiet_on_low_volume_then_runs():
    for seed in range(5):
        bars, _ = simulated_bars(seed, bars=4000, regimes=("breakout",))
        returns = log_returns(bars)
        quiet = returns.rolling(20).std().quantile(0.2)
        assert quiet < 0.6 * returns.std()
        usual = bars.volume.rolling(20).median().shift()
        jump = (returns.abs() > 3 * returns.rolling(20).std().shift()) & (bars.volume > 3 * usual)
        rows = np.flatnonzero(jump.reindex(bars.index, fill_value=False))
        rows = rows[rows < len(bars) - 11]
        assert len(rows) > 20
        log_close = np.log(bars.close.to_numpy())
        sign = np.sign(log_close[rows] - log_close[rows - 1])
        after = sign * (log_close[rows + 10] - log_close[rows])
        assert after.mean() > 4 * after.std() / np.sqrt(len(rows))
        assert 0.2 < (sign > 0).mean() < 0.8


def test_switching_market_keeps_prices_continuous():
    bars, regime = simulated_bars(3, bars=5000, stay=50.0)
    returns = log_returns(bars)
    assert (returns.abs() < 12 * returns.std()).all()
    assert (regime != regime.shift()).sum() > 50


@pytest.mark.parametrize(
    ("regime", "winner", "loser"),
    [
        ("up", "long_only", "short_only"),
        ("up", "momentum", "bollinger"),
        ("down", "short_only", "long_only"),
        ("down", "momentum", "bollinger"),
        ("reversion", "bollinger", "turtle"),
        ("reversion", "bollinger", "atr_breakout"),
        ("breakout", "atr_breakout", "bollinger"),
        ("breakout", "volume_breakout", "long_only"),
    ],
)
def test_regime_decides_which_rule_earns(regime, winner, loser):
    def earned(name):
        total = []
        for seed in range(8):
            bars, _ = simulated_bars(seed, regimes=(regime,))
            ahead = bars.open.pct_change().shift(-2).to_numpy()[:-2]  # open t+1 to open t+2
            returns = POOL[name].targets(bars)[:-2] * ahead
            total.append(returns.mean() / returns.std() * np.sqrt(252))
        return np.mean(total)

    # Sharpe ratios over 8 x 2000 bars have a standard error of 0.13.
    assert earned(winner) > 0.6 > 0.4 > earned(loser)


def test_unknown_regime_and_empty_market_are_refused():
    with pytest.raises(ValueError, match=r"no regimes \['sideways'\]; choose one or more of up"):
        simulated_bars(0, regimes=("sideways",))
    with pytest.raises(ValueError, match="at least 1; got 0"):
        simulated_bars(0, bars=0)
