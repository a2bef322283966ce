"""Algorithm 1, branch by branch. Stop distance: 1.5 x ATR 2 = 3; a layer is a quarter."""

import pytest

from strategies import targets

NEUTRAL = {
    "close": 100, "fast": 100, "slow": 100, "previous_fast": 100, "previous_slow": 100,
    "atr": 2, "trend": 0, "recent_high": 110, "recent_low": 90,
}  # fmt: skip
LONG = {"trend": 0.04}
SHORT = {"fast": 99.5, "trend": -0.03}


def quarters(*layers):
    return pytest.approx([n / 4 for n in layers])


def run(trade, *rows, **params):
    return trade("ma_cross", NEUTRAL, rows, **params)


def test_long_opens_on_golden_cross_spread_or_trend(trade):
    assert run(trade, {}, {"fast": 100.5}) == quarters(0, 1)
    assert run(trade, {"fast": 101.9, "previous_fast": 101.9}) == quarters(0)
    assert run(trade, {"fast": 102.5, "previous_fast": 102.5}) == quarters(1)
    assert run(trade, {"trend": 0.03}, {"trend": 0.031}) == quarters(0, 1)


def test_spread_of_a_falling_market_buys_only_in_paper_literal(trade):
    falling = {"fast": 97, "previous_fast": 97}
    assert run(trade, falling) == quarters(0)
    assert run(trade, falling, paper_literal=True) == quarters(1)


def test_short_opens_on_death_cross_with_falling_trend(trade):
    assert run(trade, {"fast": 99.5, "trend": -0.01}, SHORT) == quarters(0, -1)


def test_long_closes_below_stop_only_with_falling_trend(trade):
    # entry 100, stop 97
    rows = [LONG, {"close": 96.9}, {"close": 97.1, "trend": -0.03}, {"close": 96.9, "trend": -0.03}]
    assert run(trade, *rows) == quarters(1, 1, 1, 0)


def test_strong_trend_widens_the_stop_until_the_trade_ends(trade):
    # m x 1.5 after a trend above 5 %: stop 95.5; the next trade starts again at 97
    fall = {"trend": -0.03}
    rows = [LONG, {"trend": 0.06}, {"close": 95.6} | fall, {"close": 95.4} | fall]
    assert run(trade, *rows) == quarters(1, 1, 1, 0)
    assert run(trade, *rows, LONG, {"close": 96.9} | fall) == quarters(1, 1, 1, 0, 1, 0)
    # m x 1.2 between 2 % and 5 %: stop 96.4, and two such bars do not compound
    rise = {"trend": 0.03}
    rows = [LONG, rise, rise, {"close": 96.5} | fall, {"close": 96.3} | fall]
    assert run(trade, *rows) == quarters(1, 1, 1, 1, 0)


def test_long_adds_on_breakout_divergence_and_pullback_up_to_four_layers(trade):
    rows = [
        LONG,
        {"close": 111},  # above the recent high
        {"fast": 103, "previous_fast": 103},  # spread of 3 %, not widening
        {"fast": 103, "previous_fast": 102.5},  # widening
        {"close": 100.5, "fast": 101, "previous_fast": 101},  # between slow and fast
        {"close": 112},  # all four layers are in
        # average entry (100 + 111 + 100 + 100.5) / 4 = 102.875, stop 99.875
        {"close": 99.9, "trend": -0.03},
        {"close": 99.8, "trend": -0.03},
    ]
    assert run(trade, *rows) == quarters(1, 2, 2, 3, 4, 4, 4, 0)


def test_long_closes_on_death_cross_with_falling_trend(trade):
    cross = {"fast": 99.9, "previous_fast": 100.1}
    assert run(trade, LONG, cross | {"trend": -0.01}) == quarters(1, 1)
    assert run(trade, LONG, cross | {"trend": -0.021}) == quarters(1, 0)


def test_layer_added_on_the_bar_of_a_death_cross_is_closed_with_the_rest(trade):
    cross = {"fast": 99.9, "previous_fast": 100.1, "trend": -0.03, "close": 111}
    assert run(trade, LONG, cross) == quarters(1, 0)


def test_short_mirrors_adding_stop_and_cross(trade):
    # layers at 100 and 89: average 94.5, stop 97.5
    rows = [SHORT, {"close": 89}, {"close": 97.6, "trend": 0.01}, {"close": 97.6, "trend": 0.021}]
    assert run(trade, *rows) == quarters(-1, -2, -2, 0)
    cross = {"fast": 100.1, "previous_fast": 99.9}
    assert run(trade, SHORT, cross | {"trend": 0.021}) == quarters(-1, 0)
    diverging = {"fast": 97, "previous_fast": 97.5}
    pullback = {"close": 99.5, "fast": 99, "previous_fast": 99}
    assert run(trade, SHORT, diverging, pullback) == quarters(-1, -2, -3)


def test_jump_is_bought_in_four_layers_and_stopped_in_the_crash(price_bars):
    # Bar 30: 104 / 100 - 1 = 4 % > 3 %, BUY. Bars 31, 32: spread 1.2 of 100.4, 1.8 of 100.6: wait.
    # Bar 33: 103.2 - 100.8 = 2.4 > 2 %, widening: add. Bar 34: 104 - 101 = 3: add.
    # Bar 35: close 104 at the fast average 104, above the slow 101.2: pullback, add.
    # Bar 36: trend 95 / 104 - 1 = -8.7 %, far below the average entry of 104: CLOSE.
    closes = [100] * 30 + [104] * 6 + [95]
    expected = [0] * 30 + [0.25, 0.25, 0.25, 0.5, 0.75, 1, 0]
    assert targets("ma_cross", price_bars(closes)).to_list() == expected
