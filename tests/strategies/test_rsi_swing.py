"""Algorithm 5, branch by branch. Stop distance: 1.8 x ATR 2 = 3.6; a layer is a third."""

import pytest

from strategies import targets

NEUTRAL = {
    "close": 100, "rsi": 50, "atr": 2, "rsi_momentum": 0, "trend": 0, "volume_ratio": 1,
    "divergence": 0,
}  # fmt: skip
LONG = {"rsi": 34, "rsi_momentum": 1}
SHORT = {"rsi": 66}


def thirds(*layers):
    return pytest.approx([n / 3 for n in layers])


def run(trade, *rows):
    return trade("rsi_swing", NEUTRAL, rows)


def test_long_opens_when_oversold_with_two_signals_and_grows_with_more(trade):
    # the flat trend of NEUTRAL is one signal
    assert run(trade, {"rsi": 34}, LONG | {"trend": -0.02}, LONG) == thirds(0, 0, 1)
    assert run(trade, LONG | {"rsi": 36}) == thirds(0)
    assert run(trade, LONG | {"volume_ratio": 1.6}) == thirds(2)
    assert run(trade, LONG | {"volume_ratio": 1.6, "divergence": 1}) == thirds(3)


def test_short_opens_when_overbought_with_flat_or_negative_trend(trade):
    assert run(trade, SHORT | {"trend": 0.02}, SHORT) == thirds(0, -1)
    assert run(trade, SHORT | {"rsi_momentum": -1, "volume_ratio": 2}) == thirds(-2)


def test_long_closes_past_neutral_when_rsi_turns_down(trade):
    rows = [LONG, {"rsi": 49, "rsi_momentum": -1}, {"rsi": 51, "rsi_momentum": 1}]
    assert run(trade, *rows, {"rsi": 51, "rsi_momentum": -1}) == thirds(1, 1, 1, 0)


def test_long_closes_when_close_falls_below_stop(trade):
    # a drop of 1.5: above 1.8 x 0.8 = 1.44, below 1.8 x 0.9 = 1.62 (and then a layer is added)
    assert run(trade, LONG, {"close": 98.5, "atr": 0.9}) == thirds(1, 2)
    assert run(trade, LONG, {"close": 98.5, "atr": 0.8}) == thirds(1, 0)


def test_long_takes_profit_above_eight_percent_and_rsi_sixty(trade):
    rows = [LONG, {"close": 107.9, "rsi": 61}, {"close": 108.1, "rsi": 59}]
    assert run(trade, *rows, {"close": 108.1, "rsi": 61}) == thirds(1, 1, 1, 0)


def test_long_adds_when_rsi_is_more_extreme_up_to_three_layers(trade):
    deeper = [{"rsi": 30.1}, {"rsi": 29.9}, {"rsi": 25.1}, {"rsi": 24.9}, {"rsi": 10}]
    assert run(trade, LONG, *deeper) == thirds(1, 1, 2, 2, 3, 3)


def test_long_adds_on_divergence_and_on_a_drop_of_one_atr(trade):
    assert run(trade, LONG, {"divergence": 1}, {"divergence": -1}) == thirds(1, 2, 2)
    assert run(trade, LONG, {"close": 98.1}, {"close": 97.9}) == thirds(1, 1, 2)


def test_short_mirrors_exits_and_adding(trade):
    assert run(trade, SHORT, {"rsi": 49, "rsi_momentum": 1}) == thirds(-1, 0)
    assert run(trade, SHORT, {"close": 101.5, "atr": 0.8}) == thirds(-1, 0)
    assert run(trade, SHORT, {"close": 91.9, "rsi": 41}, {"close": 91.9, "rsi": 39}) == thirds(
        -1, -1, 0
    )
    assert run(trade, SHORT, {"rsi": 70.1}, {"divergence": -1}) == thirds(-1, -2, -3)
    assert run(trade, SHORT, {"close": 102.1}) == thirds(-1, -2)


def test_slow_fall_is_bought_on_a_volume_spike_and_sold_at_a_profit(price_bars):
    # Falling by 0.1 a day: RSI 0, RSI momentum 0, 5-day trend -0.5 %: one signal, no trade.
    # Bar 35: volume ratio 2 is the second: BUY at 96.5. Bars 36, 37: RSI 0 below 30, then 25: add.
    # Bar 38, close 106: 10 % above the average entry of 96.4, RSI 100 x 0.693 / 0.786 = 88: CLOSE.
    closes = [100 - 0.1 * i for i in range(38)] + [106]
    volume = [1000] * 35 + [2000] + [1000] * 3
    got = targets("rsi_swing", price_bars(closes, volume=volume))
    assert got.to_list() == pytest.approx([0] * 35 + [1 / 3, 2 / 3, 1, 0])
