import numpy as np
import pandas as pd
import pytest

from mmdrex.data.simulated import simulated_bars
from mmdrex.observation.features import indicator_table, rows
from mmdrex.training.texture import NAMES, texture


def _window(close: np.ndarray, volume: np.ndarray | None = None):
    days = pd.bdate_range("2000-01-03", periods=len(close))
    prices = {name: close for name in ("open", "high", "low", "close")}
    volume = np.full(len(close), 1e6) if volume is None else volume
    table = indicator_table(pd.DataFrame({**prices, "volume": volume}, index=days))
    return rows(table, len(close) - 100, len(close))


def _figures(close: np.ndarray, volume: np.ndarray | None = None) -> dict[str, float]:
    told = texture([_window(close, volume)])
    assert told.shape == (1, len(NAMES))
    return dict(zip(NAMES, told[0].tolist(), strict=True))


def test_a_market_that_takes_every_move_back():
    told = _figures(100.0 * np.exp(0.01 * (np.arange(300) % 2)))
    # Steps of +1 % and -1 % in turn: all of five is one step, nothing is left after ten bars.
    assert told["variance ratio of 5 bars"] == pytest.approx(np.log(0.2 + 1e-3), abs=0.01)
    assert told["variance ratio of 10 bars"] == pytest.approx(np.log(1e-3), abs=0.01)
    assert told["volatility of 20 bars"] == pytest.approx(np.log(0.01 + 1e-4), abs=0.01)
    assert told["largest fall"] == pytest.approx(0.01, abs=1e-6)
    assert told["crossings of MA20"] == 99


def test_a_market_that_rises_all_the_time():
    told = _figures(100.0 * np.exp(0.002 * np.arange(300)))
    assert told["slope"] == pytest.approx(0.002 * 99 / 2, rel=1e-5)  # per half window
    assert told["fit of a line"] == pytest.approx(1.0, abs=1e-4)
    assert told["largest fall"] == 0.0 and told["crossings of MA20"] == 0
    assert told["drift of 50 bars"] == told["straightness of 50 bars"] > 100.0


def test_drift_is_in_deviations_of_independent_steps():
    steps = np.random.default_rng(0).normal(0.001, 0.01, 300)
    told = _figures(100.0 * np.exp(np.cumsum(steps)))
    for span in (10, 99):
        last = steps[-span:]
        wanted = last.sum() / (np.sqrt(span) * last.std())
        assert told[f"drift of {span} bars"] == pytest.approx(wanted, rel=0.02)
        assert told[f"straightness of {span} bars"] == pytest.approx(abs(wanted), rel=0.02)


def test_bursts_of_volume_show():
    volume = np.full(300, 1e6)
    volume[250] = 1e8
    close = 100.0 * np.exp(np.cumsum(np.where(np.arange(300) == 250, 0.1, 0.001)))
    told = _figures(close, volume)
    mean = (99 * 1e6 + 1e8) / 100
    assert told["largest volume"] == pytest.approx(np.log1p(1e8 / mean), rel=1e-5)
    assert told["volume with the size of moves"] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("volume", [0.0, 1e6])
def test_a_market_that_never_moves_has_finite_figures(volume):
    told = texture([_window(np.full(300, 5.0), np.full(300, volume))])
    assert np.isfinite(told).all()


def test_the_price_level_does_not_matter():
    bars = simulated_bars(3, bars=400)[0]
    dear = bars.assign(**{name: 50.0 * bars[name] for name in ("open", "high", "low", "close")})
    cheap, other = (rows(indicator_table(one), 250, 350) for one in (bars, dear))
    np.testing.assert_allclose(texture([cheap]), texture([other]), rtol=1e-4, atol=1e-5)
