import numpy as np
import pandas as pd
import pytest

from mmdrex.data.bars import validate_bars
from mmdrex.data.regimes import REGIMES, regime_bars
from strategies import EXPERTS


def test_one_regime_per_expert_in_their_order():
    assert tuple(REGIMES) == tuple(EXPERTS)


def test_same_seed_gives_the_same_market_and_another_seed_another():
    first, regime = regime_bars(7)
    again, regime_again = regime_bars(7)
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_series_equal(regime, regime_again)
    assert not np.allclose(first.close, regime_bars(8)[0].close)


@pytest.mark.parametrize("seed", range(3))
def test_bars_pass_the_loaders_checks(seed):
    bars, regime = regime_bars(seed)
    pd.testing.assert_frame_equal(validate_bars(bars, f"REG{seed}"), bars)
    assert len(bars) == 2000 and regime.index.equals(bars.index)


def test_a_quiet_rise_climbs_by_its_drift_per_bar():
    paces = []
    for seed in range(10):
        log_close = np.log(regime_bars(seed, 1500, regimes=("position",))[0]["close"])
        paces.append((log_close.iloc[-1] - log_close.iloc[0]) / 1499)
    # 0.13 x 0.0105 a bar, give or take 8 % by market; noise around the line does not add up.
    assert np.mean(paces) == pytest.approx(0.13 * 0.0105, rel=0.1)


def test_a_range_comes_back():
    for seed in range(5):
        close = np.log(regime_bars(seed, 1500, regimes=("reversal",))[0]["close"])
        # A random walk of 1.5 % a bar would spread over 58 %.
        assert close.std() < 0.06


def test_true_breaks_come_with_volume_and_go_on():
    after = []
    for seed in range(5):
        bars, _ = regime_bars(seed, 3000, regimes=("breakout",))
        usual = bars.volume.rolling(20).median().shift()
        rows = np.flatnonzero(bars.volume > 3.5 * usual)
        rows = rows[rows < len(bars) - 6]
        close = np.log(bars.close.to_numpy())
        after += (np.sign(close[rows] - close[rows - 1]) * (close[rows + 5] - close[rows])).tolist()
    assert len(after) > 200
    assert np.mean(after) > 10 * np.std(after) / np.sqrt(len(after))


def test_unknown_regimes_and_lengths_are_refused():
    with pytest.raises(ValueError, match=r"no regimes .'calm'."):
        regime_bars(1, regimes=("calm",))
    with pytest.raises(ValueError, match="must be at least 1"):
        regime_bars(1, bars=0)
