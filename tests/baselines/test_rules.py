"""The seven rules against series worked out by hand."""

import numpy as np
import pytest

from baselines import BASELINES


def held(name, bars, **settings):
    return BASELINES[name].with_settings(**settings).targets(bars).tolist()


def test_buy_and_hold_is_long_from_the_first_bar(make_bars):
    assert held("buy_and_hold", make_bars([3.0, 2.0, 1.0])) == [1.0, 1.0, 1.0]


def test_macd_holds_the_side_of_the_fast_average(make_bars):
    # EMA(2) 1.5 2.5 2.17 1.39 1.13 3.04 from bar 1 on, EMA(3) 2 2 1.5 1.25 2.63 from bar 2 on;
    # each starts at the mean of its first closes.
    bars = make_bars([1.0, 2.0, 3.0, 2.0, 1.0, 1.0, 4.0])
    assert held("macd", bars, fast=2, slow=3) == [0.0, 0.0, 1.0, 1.0, -1.0, -1.0, 1.0]


def test_macd_has_the_paper_s_periods(make_bars):
    target = held("macd", make_bars(np.arange(30.0) + 1.0))
    assert target == [0.0] * 25 + [1.0] * 5  # EMA(26) is known from its 26th close on


def test_kdj_rsi_waits_until_both_say_oversold(make_bars):
    # RSV = 0.1 / 1.2 on every bar; K = 50, then 36.1 26.9 20.7 16.6; RSI(2) is 0 from bar 2 on.
    close = np.array([20.0, 19.0, 18.0, 17.0, 16.0, 15.0, 16.0])
    bars = make_bars(close, high=close + 0.1, low=close - 0.1)
    # On the last bar mean gain and mean loss are both 0.5: RSI 50.
    assert held("kdj_rsi", bars, n=2, rsi_n=2) == [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]


def test_kdj_rsi_is_short_where_both_say_overbought(make_bars):
    close = np.array([15.0, 16.0, 17.0, 18.0, 19.0, 20.0, 19.0])
    bars = make_bars(close, high=close + 0.1, low=close - 0.1)
    assert held("kdj_rsi", bars, n=2, rsi_n=2) == [0.0, 0.0, 0.0, 0.0, -1.0, -1.0, 0.0]


def test_cr_compares_the_close_with_the_mean_of_its_own_bar(make_bars):
    # The means are 10.25, 9.75 and 10.
    bars = make_bars([11.0, 9.0, 10.0], open=10.0, high=12.0, low=8.0)
    assert held("cr", bars) == [1.0, -1.0, 0.0]


def test_real_cr_holds_the_side_of_one_hundred_percent(make_bars):
    # Yesterday's middle: - 3 4 2.5 2.5 4.5; reach above it: - 2 0 0.5 3.5 0.5;
    # below it: - 0 3 0.5 0 4. Over two bars: 2/3, 0.5/3.5, 4/0.5, 4/4.
    high, low = np.array([4.0, 5.0, 4.0, 3.0, 6.0, 5.0]), np.array([2.0, 3.0, 1.0, 2.0, 3.0, 0.5])
    bars = make_bars((high + low) / 2.0, high=high, low=low)
    assert held("cr", bars, indicator=True, n=2) == [0.0, 0.0, -1.0, -1.0, 1.0, 0.0]


def test_bbi_is_flat_on_the_average_and_long_above_it(make_bars):
    # With 24 closes of 10 the index is 10. A jump to 34 lifts MA3 to 18, MA6 to 14, MA12 to 12,
    # MA24 to 11: 13.75, below the close of 34 and above the close of 10 after it.
    bars = make_bars([10.0] * 24 + [34.0, 10.0])
    assert held("bbi", bars) == [0.0] * 24 + [1.0, -1.0]


def test_wr_trades_the_outer_fifths_of_the_range(make_bars):
    # Highest and lowest of three bars: WR -25, exactly -80, -83.3, -12.5.
    close = np.array([10.0, 11.0, 12.0, 9.0, 8.0, 14.0])
    bars = make_bars(close, high=close + 1.0, low=close - 1.0)
    assert held("wr", bars, n=3) == [0.0, 0.0, 0.0, 0.0, 1.0, -1.0]


def test_wr_of_exactly_minus_twenty_is_no_signal(make_bars):
    close = np.array([10.0, 11.0, 13.0])  # highest 14, lowest 9
    assert held("wr", make_bars(close, high=close + 1.0, low=close - 1.0), n=3) == [0.0] * 3


def test_bias_trades_against_the_distance_from_the_average(make_bars):
    # MA(3): 2, 2.33, 2.33, 3.
    bars = make_bars([1.0, 2.0, 3.0, 2.0, 2.0, 5.0])
    assert held("bias", bars, n=3) == [0.0, 0.0, -1.0, 1.0, 1.0, -1.0]


@pytest.mark.parametrize("name", ["macd", "kdj_rsi", "cr", "bbi", "wr", "bias"])
def test_price_that_stands_still_is_no_signal(make_bars, name):
    assert held(name, make_bars([0.1] * 60)) == [0.0] * 60
