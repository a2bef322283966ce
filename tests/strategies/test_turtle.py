"""Algorithm 3, branch by branch. Stop 2 x ATR 2 = 4 from the last unit; a unit is 0.3."""

import pytest

from strategies import targets

NEUTRAL = {
    "close": 100, "entry_high": 110, "entry_low": 90, "exit_high": 108, "exit_low": 92,
    "atr": 2, "unit": 0.3,
}  # fmt: skip


def run(trade, *closes, **fields):
    rows = [c if isinstance(c, dict) else {"close": c} | fields for c in closes]
    return trade("turtle", NEUTRAL, rows)


def approx(*values):
    return pytest.approx(list(values))


def test_long_opens_above_entry_high(trade):
    assert run(trade, 100, 110, 111) == approx(0, 0, 0.3)


def test_long_adds_a_unit_every_half_atr_up_to_five_and_is_capped_at_one(trade):
    closes = [111, 111.9, 112.1, 113.2, 114.3, 115.4, 116.5]
    # units 1 1 2 3 4 5 5, so 116.5 adds none: the stop stays at 115.4 - 4 = 111.4
    assert run(trade, *closes, 111.5, 111.3) == approx(0.3, 0.3, 0.6, 0.9, 1, 1, 1, 1, 0)


def test_long_closes_below_exit_low(trade):
    row = {"close": 110.5, "exit_low": 110.6}
    assert run(trade, 111, 110.5, row) == approx(0.3, 0.3, 0)


def test_profit_above_ten_percent_takes_one_unit_once_and_adds_no_more(trade):
    # average entry (111 + 112.1 + 113.2) / 3 = 112.1, ten percent above it 123.31
    got = run(trade, 111, 112.1, 113.2, {"close": 123.4, "atr": 30}, 124, 126, 109.1)
    # at 123.4 half an ATR of 30 is not reached, one unit is sold; at 109.1 the stop of 113.2 - 4
    assert got == approx(0.3, 0.6, 0.9, 0.6, 0.6, 0.6, 0)


def test_single_unit_is_not_taken_but_added_to(trade):
    assert run(trade, 111, 123) == approx(0.3, 0.6)


def test_short_mirrors_adding_stop_exit_and_profit(trade):
    assert run(trade, 89, 87.9, 91.8, 92) == approx(-0.3, -0.6, -0.6, 0)  # stop 87.9 + 4 = 91.9
    assert run(trade, 89, {"close": 89.5, "exit_high": 89.4}) == approx(-0.3, 0)
    # average entry 88.45, ten percent below it 79.6
    assert run(trade, 89, 87.9, 79.5, 75) == approx(-0.3, -0.6, -0.3, -0.3)


def test_breakout_is_sized_by_volatility_and_left_at_the_exit_channel(price_bars):
    # True range 1 while flat. Bar 30: high 102.5 over the close of 100: 2.5, so the ATR is
    # (19 x 1 + 2.5) / 20 = 1.075 and a unit 1 % x 102 / 1.075. Bar 32: one point is more than half
    # an ATR, two units exceed the capital. Bar 33: 99 is below the ten-day low of 99.5.
    unit = 0.01 * 102 / 1.075
    closes = [100] * 30 + [102, 102, 103, 99]
    got = targets("turtle", price_bars(closes))
    assert got.to_list() == pytest.approx([0] * 30 + [unit, unit, 1, 0])
