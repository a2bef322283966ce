"""Algorithm 4, branch by branch. Stop distance: 1.8 x ATR 2 = 3.6; a layer is a third."""

import pytest

from strategies import targets

NEUTRAL = {
    "close": 100, "upper": 110, "middle": 100, "lower": 90, "previous_close": 100,
    "previous_upper": 110, "previous_lower": 90, "atr": 2, "rsi": 50, "momentum": 0,
    "volume_ratio": 1,
}  # fmt: skip
LONG = {"close": 89, "rsi": 34}
SHORT = {"close": 111, "rsi": 66}


def thirds(*layers):
    return pytest.approx([n / 3 for n in layers])


def test_long_opens_below_lower_band_with_one_layer_per_signal(trade):
    two = {"close": 89, "rsi": 34, "volume_ratio": 1.3}
    three = two | {"momentum": -0.03}
    assert trade("bollinger", NEUTRAL, [{}, {"close": 89}, LONG]) == thirds(0, 0, 1)
    assert trade("bollinger", NEUTRAL, [{"rsi": 34}, two]) == thirds(0, 2)
    assert trade("bollinger", NEUTRAL, [three]) == thirds(3)


def test_long_closes_at_middle_band_when_momentum_is_negative(trade):
    rows = [LONG, {"close": 99, "momentum": -0.01}, {"close": 100}, {"momentum": -0.01}]
    assert trade("bollinger", NEUTRAL, rows) == thirds(1, 1, 1, 0)


def test_long_closes_when_close_falls_below_stop(trade):
    # entry 89, stop 85.4; the band is moved away so that nothing is added
    rows = [LONG, {"close": 85.5, "lower": 80}, {"close": 85.3, "lower": 80}]
    assert trade("bollinger", NEUTRAL, rows) == thirds(1, 1, 0)


def test_long_adds_when_close_is_more_extreme_and_stops_from_average_entry(trade):
    closes = [89, 88, 88.5, 87, 86, 84.5, 84.3]
    # 88.5 is not below the last layer (88); at three layers nothing is added.
    # average entry (89 + 88 + 87) / 3 = 88, stop 84.4
    rows = [LONG, *({"close": close} for close in closes[1:])]
    assert trade("bollinger", NEUTRAL, rows) == thirds(1, 2, 2, 3, 3, 3, 0)


def test_long_adds_after_five_bars_below_the_middle(trade):
    waiting = [{"close": 95}] * 5
    assert trade("bollinger", NEUTRAL, [LONG, *waiting]) == thirds(1, 1, 1, 1, 1, 2)
    above = [{"close": 101}] * 6
    assert trade("bollinger", NEUTRAL, [LONG, *above]) == thirds(1, 1, 1, 1, 1, 1, 1)


def test_long_adds_on_a_false_break(trade):
    rows = [LONG, {"close": 91, "previous_close": 89}, {"close": 91}]
    assert trade("bollinger", NEUTRAL, rows) == thirds(1, 2, 2)


def test_short_mirrors_entry_adding_target_and_stop(trade):
    rows = [{"close": 111}, SHORT, {"close": 112}, {"close": 100, "momentum": 0.01}]
    assert trade("bollinger", NEUTRAL, rows) == thirds(0, -1, -2, 0)
    # entry 111, stop 114.6
    rows = [SHORT, {"close": 114.5, "upper": 120}, {"close": 114.7, "upper": 120}]
    assert trade("bollinger", NEUTRAL, rows) == thirds(-1, -1, 0)
    rows = [SHORT, {"close": 109, "previous_close": 111}]
    assert trade("bollinger", NEUTRAL, rows) == thirds(-1, -2)


def test_crash_is_bought_and_sold_after_the_recovery(price_bars):
    # 100 and 101 in turn: bands 100.5 +- 0.9, no trade.
    # Bar 40, close 90: mean 100, deviation 2.35, lower band 95.8; RSI 28 and 5-bar momentum -10 %
    # are two signals. Bars 41-43 at 90: not below the last layer. Bar 44: the band has fallen from
    # 98.4 - 1.8 x 4.2 = 90.8 to 97.9 - 1.8 x 4.6 = 89.6, the break was false: add.
    # Bars 46-51 at 101: above the middle, momentum positive, then 0. Bar 52: momentum negative.
    closes = [100, 101] * 20 + [90] * 6 + [101] * 6 + [100.5]
    expected = [0] * 40 + [2 / 3] * 4 + [1] * 8 + [0]
    assert targets("bollinger", price_bars(closes)).to_list() == pytest.approx(expected)
