"""Algorithm 6, branch by branch. Stop distance: 1.8 x ATR 2 = 3.6; a layer is a third."""

import pytest

from strategies import targets

NEUTRAL = {
    "close": 100, "k": 50, "d": 50, "j": 50, "previous_k": 50, "previous_d": 50,
    "previous_j": 50, "atr": 2, "momentum": 0, "volume_ratio": 1, "divergence": 0,
}  # fmt: skip
LONG = {"j": 9, "volume_ratio": 1.3, "momentum": 0.01}
GOLDEN = {"k": 19, "d": 18, "previous_k": 17, "previous_d": 18}
DEATH = {"k": 81, "d": 82, "previous_k": 83, "previous_d": 82}
SHORT = {"j": 91} | DEATH


def thirds(*layers):
    return pytest.approx([n / 3 for n in layers])


def run(trade, *rows):
    return trade("kdj", NEUTRAL, rows)


def test_long_opens_at_low_j_or_k_with_two_signals_and_grows_with_three(trade):
    assert run(trade, {"j": 9}, {"j": 9, "volume_ratio": 1.3}, LONG) == thirds(0, 0, 1)
    assert run(trade, LONG | {"j": 11}) == thirds(0)
    assert run(trade, GOLDEN, GOLDEN | {"volume_ratio": 1.3}) == thirds(0, 1)
    assert run(trade, GOLDEN | {"volume_ratio": 1.3, "momentum": 0.01}) == thirds(2)


def test_short_opens_at_high_j_and_k_on_death_cross_or_busy_fall(trade):
    above = {"k": 81, "d": 80, "previous_k": 81, "previous_d": 80}
    fall = {"momentum": -0.01, "volume_ratio": 1.3}
    assert run(trade, {"j": 91} | above, {"j": 89} | DEATH, SHORT) == thirds(0, 0, -1)
    assert run(trade, {"j": 91, "momentum": -0.01} | above) == thirds(0)
    assert run(trade, {"j": 91} | above | fall) == thirds(-1)
    assert run(trade, SHORT | fall) == thirds(-2)


def test_long_closes_on_death_cross_above_seventy(trade):
    low = {"k": 69, "d": 70, "previous_k": 71, "previous_d": 70}
    high = {"k": 71, "d": 72, "previous_k": 73, "previous_d": 72}
    assert run(trade, LONG, low, high) == thirds(1, 1, 0)


def test_long_closes_when_j_falls_by_ten_from_above_eighty(trade):
    rows = [{"j": 79, "previous_j": 95}, {"j": 81, "previous_j": 90}, {"j": 81, "previous_j": 92}]
    assert run(trade, LONG, *rows) == thirds(1, 1, 1, 0)


def test_long_closes_when_close_falls_below_stop(trade):
    assert run(trade, LONG, {"close": 96.5}, {"close": 96.3}) == thirds(1, 1, 0)


def test_long_takes_profit_above_eight_percent_with_high_j_or_k(trade):
    high_k = {"k": 71, "d": 60, "previous_k": 70, "previous_d": 60}
    rows = [LONG, {"close": 108.1}, {"close": 107.9, "j": 71}, {"close": 108.1, "j": 71}]
    assert run(trade, *rows) == thirds(1, 1, 1, 0)
    assert run(trade, LONG, high_k, {"close": 108.1} | high_k) == thirds(1, 1, 0)


def test_long_adds_when_j_is_lower_still_up_to_three_layers(trade):
    deeper = [{"j": 0.1}, {"j": -0.1}, {"j": -9.9}, {"j": -10.1}, {"j": -40}]
    assert run(trade, LONG, *deeper) == thirds(1, 1, 2, 2, 3, 3)


def test_long_adds_on_a_new_golden_cross_and_on_divergence(trade):
    rows = [LONG, GOLDEN, {"divergence": -1}, {"divergence": 1}]
    assert run(trade, *rows) == thirds(1, 2, 2, 3)


def test_short_mirrors_exits_and_adding(trade):
    golden = {"k": 29, "d": 28, "previous_k": 27, "previous_d": 28}
    assert run(trade, SHORT, golden) == thirds(-1, 0)
    assert run(trade, SHORT, {"j": 19, "previous_j": 10}, {"j": 19, "previous_j": 8}) == thirds(
        -1, -1, 0
    )
    assert run(trade, SHORT, {"close": 103.5}, {"close": 103.7}) == thirds(-1, -1, 0)
    assert run(trade, SHORT, {"close": 91.9}, {"close": 91.9, "j": 29}) == thirds(-1, -1, 0)
    assert run(trade, SHORT, {"j": 100.1}, {"divergence": -1}) == thirds(-1, -2, -3)
    assert run(trade, SHORT, DEATH) == thirds(-1, -2)


def test_end_of_a_slow_fall_is_bought_and_stopped_in_the_crash(price_bars):
    # Falling by 0.1 a day with close = low: RSV 0, K and D die out, J < 10, but no signal.
    # Bar 30, 0.02 up on double volume: RSV 0.02 / 0.7 = 2.9, K 0.96 above D 0.36: golden cross,
    # volume and momentum: two layers. Bar 31: J 6, no cross: wait. Bar 32: far below the stop.
    closes = [100 - 0.1 * i for i in range(30)] + [97.12, 97.14, 90]
    volume = [1000] * 30 + [2000, 1000, 1000]
    got = targets("kdj", price_bars(closes, spread=0, volume=volume))
    assert got.to_list() == pytest.approx([0] * 30 + [2 / 3, 2 / 3, 0])
