"""Algorithm 7, branch by branch. Stop 1.8 x ATR 2 = 3.6 from the entry; a layer is a third."""

import pytest

from strategies import targets

NEUTRAL = {
    "close": 100, "recent_high": 110, "recent_low": 90, "volume_ratio": 1, "volume_trend": 1,
    "ma": 100, "atr": 2,
}  # fmt: skip
LONG = {"close": 110.5, "volume_ratio": 1.6}
SHORT = {"close": 89.5, "volume_ratio": 1.6}


def thirds(*layers):
    return pytest.approx([n / 3 for n in layers])


def run(trade, *rows):
    return trade("volume_breakout", NEUTRAL, rows)


def test_long_opens_above_recent_high_on_volume_and_grows_with_the_score(trade):
    rows = [{"close": 109, "volume_ratio": 2}, LONG | {"volume_ratio": 1.5}, LONG]
    assert run(trade, *rows) == thirds(0, 0, 1)
    assert run(trade, LONG | {"close": 111.5}) == thirds(2)  # 1.5 beyond, half an ATR is 1
    assert run(trade, LONG | {"close": 111.5, "volume_trend": 1.1}) == thirds(3)


def test_long_closes_below_the_stop_set_at_entry(trade):
    # stop 110.5 - 3.6 = 106.9, whatever the ATR does later
    rows = [
        LONG,
        {"close": 107, "atr": 0.1},
        {"close": 107, "atr": 50},
        {"close": 106.8, "atr": 50},
    ]
    assert run(trade, *rows) == thirds(1, 1, 1, 0)


def test_long_closes_when_volume_dries_up_below_the_average(trade):
    rows = [
        LONG,
        {"close": 108, "volume_trend": 0.9, "ma": 107},
        {"close": 108, "volume_trend": 1.0, "ma": 108.5},
        {"close": 108, "volume_trend": 0.9, "ma": 108.5},
    ]
    assert run(trade, *rows) == thirds(1, 1, 1, 0)


def test_long_adds_while_breakout_extends_and_volume_stays_high(trade):
    rows = [
        LONG,
        {"close": 111.4, "volume_trend": 1.1},  # 0.9 further: less than half an ATR
        {"close": 111.6, "volume_trend": 1.1},  # add
        {"close": 112.7, "volume_trend": 1.0},  # volume is not high
        {"close": 112.7, "volume_trend": 1.1},  # add
        {"close": 120, "volume_trend": 1.1},  # full
        {"close": 107},  # the stop of the entry, 106.9, still holds
        {"close": 106.8},
    ]
    assert run(trade, *rows) == thirds(1, 1, 2, 2, 3, 3, 3, 0)


def test_short_mirrors_entry_stop_exhaustion_and_adding(trade):
    assert run(trade, SHORT | {"volume_ratio": 1.5}, SHORT) == thirds(0, -1)
    assert run(trade, SHORT | {"close": 88.5}) == thirds(-2)
    assert run(trade, SHORT, {"close": 93}, {"close": 93.2}) == thirds(-1, -1, 0)
    assert run(trade, SHORT, {"close": 90, "volume_trend": 0.9, "ma": 89.5}) == thirds(-1, 0)
    assert run(trade, SHORT, {"close": 88.4, "volume_trend": 1.1}) == thirds(-1, -2)


def test_breakout_on_volume_is_held_until_volume_and_average_are_lost(price_bars):
    # Bar 30: 102 against a high of 100.5 on three times the volume: ATR (13 + 2.5) / 14 = 1.11, so
    # 1.5 is beyond half of it; 5-day volume 1400 above the 20-day 1100: three layers.
    # Bar 35: volume 1000 below 1100, but 102 above its 10-day average 101.2: hold.
    # Bar 36: 101 below 101.3: CLOSE (the stop lies at 102 - 1.8 x 1.11 = 100.0).
    closes = [100] * 30 + [102] * 6 + [101]
    volume = [1000] * 30 + [3000] + [1000] * 6
    got = targets("volume_breakout", price_bars(closes, volume=volume))
    assert got.to_list() == [0] * 30 + [1] * 6 + [0]
