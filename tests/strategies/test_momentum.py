"""Algorithm 2, branch by branch. Stop distance: 1.5 x ATR 2 = 3; a layer is a third."""

import pytest

from strategies import targets

NEUTRAL = {
    "close": 100, "momentum": 0, "acceleration": 0, "atr": 2, "rsi": 50, "volume_ratio": 1,
}  # fmt: skip
LONG = {"momentum": 0.03, "acceleration": 0.001, "rsi": 51, "volume_ratio": 1.25}
SHORT = {"momentum": -0.03, "acceleration": -0.001, "rsi": 39}


def thirds(*layers):
    return pytest.approx([n / 3 for n in layers])


def run(trade, *rows):
    return trade("momentum", NEUTRAL, rows)


@pytest.mark.parametrize(
    "missing", [{"momentum": 0.02}, {"acceleration": 0}, {"rsi": 50}, {"volume_ratio": 1.2}]
)
def test_long_opens_only_when_all_four_signals_speak(trade, missing):
    assert run(trade, LONG | missing, LONG) == thirds(0, 1)


@pytest.mark.parametrize("missing", [{"momentum": -0.02}, {"acceleration": 0}, {"rsi": 40}])
def test_short_opens_only_when_all_three_signals_speak(trade, missing):
    assert run(trade, SHORT | missing, SHORT) == thirds(0, -1)


def test_long_closes_when_momentum_falls_below_exit_threshold(trade):
    assert run(trade, LONG, {"momentum": 0.0051}, {"momentum": 0.0049}) == thirds(1, 1, 0)


def test_long_closes_when_close_falls_below_stop(trade):
    # entry 100, stop 97
    strong = {"momentum": 0.02}
    rows = [LONG, {"close": 97.1} | strong, {"close": 96.9} | strong]
    assert run(trade, *rows) == thirds(1, 1, 0)


def test_long_adds_when_two_of_four_signals_are_met_up_to_three_layers(trade):
    rows = [
        LONG,
        {"momentum": 0.031},  # one: above 0.02 x 1.5
        {"momentum": 0.031, "volume_ratio": 1.4},  # two: add
        {"momentum": 0.039, "volume_ratio": 1.4},  # one: the bar is 0.02 x 2 now
        {"momentum": 0.03, "close": 101.9, "acceleration": 0.011},  # one: price needs 102
        {"momentum": 0.03, "close": 102.1, "acceleration": 0.011},  # two: add
        {"momentum": 0.09, "close": 120, "acceleration": 0.1},  # full
    ]
    assert run(trade, *rows) == thirds(1, 1, 2, 2, 2, 3, 3)


def test_short_mirrors_adding_exit_and_stop(trade):
    falling = {"momentum": -0.031}
    assert run(trade, SHORT, falling, {"close": 98.9} | falling) == thirds(-1, -1, -2)
    assert run(trade, SHORT, {"momentum": -0.0051}, {"momentum": -0.0049}) == thirds(-1, -1, 0)
    weak = {"momentum": -0.02}
    rows = [SHORT, {"close": 102.9} | weak, {"close": 103.1} | weak]
    assert run(trade, *rows) == thirds(-1, -1, 0)


def test_jump_is_ridden_until_the_last_look_back_has_passed_it(price_bars):
    # Bar 40: 5 % over 5, 10 and 20 bars, five bars ago 0: momentum and acceleration 0.05, RSI 100,
    # volume ratio 2: BUY. Bars 41, 42: momentum 0.05 above 0.03, then 0.04, and acceleration: add.
    # Bar 45: 0.7 x 0.05 = 0.035; bar 50: 0.2 x 0.05 = 0.01, above 0.005; bar 60: 0: CLOSE.
    closes = [100] * 40 + [105] * 21
    volume = [1000] * 40 + [2000] + [1000] * 20
    expected = [0] * 40 + [1 / 3, 2 / 3] + [1] * 18 + [0]
    got = targets("momentum", price_bars(closes, volume=volume))
    assert got.to_list() == pytest.approx(expected)
