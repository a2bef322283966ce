"""Indicators against TA-Lib, plain loops and figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from strategies import indicators

NAN = np.nan


@pytest.fixture(scope="module")
def prices(sp500):
    return {name: sp500[name].to_numpy()[:1500] for name in sp500.columns}


def test_bollinger_equals_talib_on_ordinary_prices(prices):
    # TA-Lib sums squares over all bars, we sum twice per window: 1e-9 relative apart
    ours = indicators.bollinger(prices["close"], 20, 1.8)
    theirs = talib.BBANDS(prices["close"], 20, 1.8, 1.8)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_bollinger_keeps_its_digits_after_a_fall_by_many_powers_of_ten():
    # back-adjusted prices of a decaying fund: 1e9 once, 10 and 11 in turn now; deviation 0.5
    close = np.r_[np.full(30, 1e9), np.tile([10.0, 11.0], 30)]
    upper, _, lower = indicators.bollinger(close, 20, 2.0)
    np.testing.assert_allclose(upper[-1] - lower[-1], 2 * 2 * 0.5, rtol=1e-12)


def test_kdj_by_hand():
    # n = 2. t=1: range 9..12, close 11: RSV 66.7; K = 100/3 + 66.7/3 = 55.556,
    # D = 100/3 + 55.556/3 = 51.852, J = 62.963. t=2: range 9..12, close 9: RSV 0; K = 37.037,
    # D = 46.914, J = 17.284. t=3: high = low: RSV stays 0: K = 24.691.
    high, low = np.array([12.0, 11.5, 12.0, 9.0, 9.0]), np.array([9.0, 10.0, 9.0, 9.0, 9.0])
    close = np.array([10.0, 11.0, 9.0, 9.0, 9.0])
    k, d, j = indicators.kdj(high, low, close, 2)
    np.testing.assert_allclose(k[:3], [NAN, 55.5556, 37.0370], atol=1e-4)
    np.testing.assert_allclose(d[:3], [NAN, 51.8519, 46.9136], atol=1e-4)
    np.testing.assert_allclose(j[:3], [NAN, 62.9630, 17.2840], atol=1e-4)
    np.testing.assert_allclose(k[3:], [24.6914, 16.4609], atol=1e-4)


def test_kdj_keeps_rsv_where_high_equals_low():
    # t=1: close at the top, RSV 100, K = 66.667; then a flat range: RSV stays 100
    high, low = np.array([11.0, 12.0, 12.0, 12.0]), np.array([10.0, 12.0, 12.0, 12.0])
    k, _, _ = indicators.kdj(high, low, high, 2)
    np.testing.assert_allclose(k, [NAN, 66.6667, 77.7778, 85.1852], atol=1e-4)


def test_volume_ratio_compares_with_the_bars_before():
    volume = np.array([1.0, 3.0, 4.0, 0.0, 0.0, 6.0])
    # means of two before: 2, 3.5, 2, 0
    np.testing.assert_allclose(indicators.volume_ratio(volume, 2), [NAN, NAN, 2, 0, 0, 1])


def test_volume_ratio_is_one_after_silence_even_with_fractional_volumes():
    volume = np.r_[np.full(9, 0.1), 0.3, np.zeros(10), 5.0]
    ratio = indicators.volume_ratio(volume, 5)
    assert ratio[-1] == 1.0
    assert np.all(ratio[15:20] == 1.0)


def test_change_and_previous_look_back():
    values = np.array([10.0, 11.0, 12.0, 9.0])
    np.testing.assert_allclose(indicators.previous(values, 2), [NAN, NAN, 10, 11])
    np.testing.assert_allclose(indicators.change(values, 2), [NAN, NAN, 0.2, 9 / 11 - 1])


def test_divergence_is_a_new_low_the_oscillator_does_not_confirm():
    close = np.array([5.0, 4.0, 3.0, 2.0, 6.0, 7.0])
    oscillator = np.array([9.0, 8.0, 8.5, 7.0, 9.0, 8.9])
    # t=2: 3 below 4, 8.5 above 8: bullish. t=3: 7 confirms. t=4: 9 confirms the new high.
    # t=5: 7 above 6, 8.9 below 9: bearish.
    expected = [NAN, NAN, 1, 0, 0, -1]
    np.testing.assert_array_equal(indicators.divergence(close, oscillator, 2), expected)


def test_rsi_and_atr_are_wilder_s(prices):
    high, low, close = prices["high"], prices["low"], prices["close"]
    before = close[:-1]
    gain, loss = np.maximum(close[1:] - before, 0), np.maximum(before - close[1:], 0)
    reach = np.maximum(high[1:], before) - np.minimum(low[1:], before)

    def wilder(values, n):
        mean = values[:n].mean()
        for value in values[n:]:
            mean = (mean * (n - 1) + value) / n
        return mean

    expected = 100 * wilder(gain, 14) / (wilder(gain, 14) + wilder(loss, 14))
    assert indicators.rsi(close, 14)[-1] == pytest.approx(expected)
    assert indicators.atr(high, low, close, 14)[-1] == pytest.approx(wilder(reach, 14))
    assert np.isnan(indicators.atr(high, low, close, 14)[13])


def test_macd_and_adx_come_from_talib(prices):
    high, low, close = prices["high"], prices["low"], prices["close"]
    np.testing.assert_array_equal(indicators.macd(close), talib.MACD(close))
    expected = (
        talib.ADX(high, low, close),
        talib.PLUS_DI(high, low, close),
        talib.MINUS_DI(high, low, close),
    )
    np.testing.assert_array_equal(indicators.adx(high, low, close), expected)
    np.testing.assert_array_equal(indicators.ema(close, 9), talib.EMA(close, 9))
