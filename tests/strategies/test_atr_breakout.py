"""Algorithm 8, branch by branch. With ATR 2: channel 3, exit 1.5, stop 2.4; a layer is a third."""

import pytest

from strategies import targets

NEUTRAL = {"close": 100, "ma": 100, "slope": 0, "atr": 2}
LONG = {"close": 103.5}
SHORT = {"close": 96.5}


def thirds(*layers):
    return pytest.approx([n / 3 for n in layers])


def run(trade, *rows):
    return trade("atr_breakout", NEUTRAL, rows)


def test_long_opens_above_the_channel_and_grows_with_the_score(trade):
    assert run(trade, {}, {"close": 103}, LONG) == thirds(0, 0, 1)
    assert run(trade, {"close": 104.5}) == thirds(2)  # half an ATR is 1
    assert run(trade, {"close": 104.5, "slope": 0.1}) == thirds(3)


def test_long_closes_below_the_stop_set_at_entry(trade):
    # stop 103.5 - 2.4 = 101.1; the average is moved away so that the exit price is not met
    rows = [LONG, {"close": 101.2, "ma": 98}, {"close": 101.2, "ma": 60, "atr": 50}]
    assert run(trade, *rows, {"close": 101, "ma": 98}) == thirds(1, 1, 1, 0)


def test_long_closes_below_the_exit_price_of_the_day(trade):
    assert run(trade, LONG, {"close": 101.6}, {"close": 101.4}) == thirds(1, 1, 0)
    assert run(trade, LONG, {"close": 103.4, "ma": 102}) == thirds(1, 0)


def test_long_adds_while_the_breakout_continues(trade):
    rows = [
        LONG,
        {"close": 104.4},  # 0.9 further: less than half an ATR
        {"close": 104.6},  # add
        {"close": 105.7, "ma": 103},  # inside the channel
        {"close": 105.7},  # add
        {"close": 110},  # full
    ]
    assert run(trade, *rows) == thirds(1, 1, 2, 2, 3, 3)


def test_short_mirrors_entry_stop_exit_and_adding(trade):
    assert run(trade, {"close": 97}, SHORT, {"close": 95.4}) == thirds(0, -1, -2)
    assert run(trade, {"close": 95.5, "slope": -0.1}) == thirds(-3)
    assert run(trade, SHORT, {"close": 98.4}, {"close": 98.6}) == thirds(-1, -1, 0)
    assert run(trade, SHORT, {"close": 98.8, "ma": 102}, {"close": 99, "ma": 102}) == thirds(
        -1, -1, 0
    )


def test_breakout_is_added_to_and_left_at_the_exit_price(price_bars):
    # Bar 30: ATR (19 + 2.5) / 20 = 1.075, average 100.1: 102 is 1.9 above, the channel 1.61, half
    # an ATR more is not reached, the average rises: two layers. Bar 32: a point further, 2.65 above
    # 100.35: add. Bar 33: 0.6 above 100.4, less than 0.75 ATR: CLOSE (stop 100.7).
    closes = [100] * 30 + [102, 102, 103, 101]
    got = targets("atr_breakout", price_bars(closes))
    assert got.to_list() == pytest.approx([0] * 30 + [2 / 3, 2 / 3, 1, 0])
