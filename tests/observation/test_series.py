import numpy as np
import pytest

from mmdrex.observation.features import indicator_table
from mmdrex.observation.series import FEATURES, series


def test_features_are_those_of_table_12_in_its_order():
    assert FEATURES == (
        "close",
        "high",
        "low",
        "open",
        "volume",
        "change",
        "amplitude",
        "ma10",
        "ma20",
        "ma100",
        "rsi",
        "upper",
        "middle",
        "lower",
        "k",
        "d",
        "j",
    )


def test_prices_are_relative_to_the_last_close(markets):
    bars = markets["sp500"]
    window = bars.iloc[401:501]
    values = series(indicator_table(bars), 500, 100)
    assert values.shape == (100, 17) and values.dtype == np.float32
    assert values[-1, 0] == 0.0
    for column, name in enumerate(("close", "high", "low", "open")):
        expected = window[name] / window.close.iloc[-1] - 1
        assert values[:, column] == pytest.approx(expected.to_numpy(), abs=1e-7)
    ma100 = bars.close.rolling(100).mean().iloc[401:501] / window.close.iloc[-1] - 1
    assert values[:, FEATURES.index("ma100")] == pytest.approx(ma100.to_numpy(), abs=1e-6)


def test_fractions_and_oscillators_keep_their_scale(markets):
    bars = markets["sp500"]
    table = indicator_table(bars)
    values = series(table, 500, 100)
    for name in ("change", "amplitude", "rsi", "k", "d", "j"):
        expected = table[name][401:501].astype(np.float32)
        assert values[:, FEATURES.index(name)].tolist() == expected.tolist()


def test_volume_is_the_logarithm_against_the_windows_mean(markets):
    bars = markets["nasdaq"]
    window = bars.volume.iloc[401:501]
    column = series(indicator_table(bars), 500, 100)[:, FEATURES.index("volume")]
    assert column == pytest.approx(np.log(1 + window / window.mean()).to_numpy(), rel=1e-6)


def test_window_without_volume_gives_zeros_instead_of_nan(markets):
    bars = markets["SIM1"].assign(volume=0.0)
    values = series(indicator_table(bars), 500, 100)
    assert np.isfinite(values).all()
    assert (values[:, FEATURES.index("volume")] == 0.0).all()


@pytest.mark.parametrize("market", ["sp500", "nasdaq", "SIM1", "SIM2", "SIM3"])
def test_prices_and_volumes_times_two_give_the_same_series(markets, market):
    bars = markets[market]
    once, twice = indicator_table(bars), indicator_table(bars * 2.0)
    for t in range(198, len(bars), 97):
        assert series(once, t, 100).tobytes() == series(twice, t, 100).tobytes()


@pytest.mark.parametrize("lookback", [10, 60, 100, 250])
def test_nothing_is_nan_from_the_first_decision_on(markets, lookback):
    table = indicator_table(markets["SIM2"])
    first = 98 + max(lookback, 10)
    assert np.isfinite(series(table, first, lookback)).all()
    assert np.isnan(series(table, first - 1, lookback)).any()
