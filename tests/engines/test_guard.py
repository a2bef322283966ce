"""The equity guard, against sums made by hand."""

import numpy as np
import pandas as pd
import pytest

from mmdrex.engines.guard import guard, simulate


def make_bars(opens, closes):
    index = pd.bdate_range("2020-01-01", periods=len(opens))
    opens, closes = np.array(opens, dtype=float), np.array(closes, dtype=float)
    return pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes),
            "low": np.minimum(opens, closes),
            "close": closes,
            "volume": 1.0,
        },
        index=index,
    )


def random_bars(seed, bars=400, volatility=0.05):
    generator = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(generator.normal(0, volatility, bars)))
    return make_bars(close * np.exp(generator.normal(0, volatility / 2, bars)), close)


def test_target_is_filled_at_the_next_open():
    bars = make_bars([10, 20, 30], [10, 25, 40])
    # 100 of cash buy 5 shares at 20: worth 125 at the close of 25, 200 at 40
    assert simulate(bars, [1, 1, 1], cash=100.0) == pytest.approx([100, 125, 200], rel=1e-11)


def test_fees_and_slippage_are_paid_on_both_sides():
    bars = make_bars([10, 20, 30, 30], [10, 20, 30, 30])
    shares = 0.5 * 100 / 20
    bought = 100 - shares * 20 * 1.01 * 1.1  # slippage 1 %, fees 10 %
    sold = bought + shares * 30 * 0.99 * 0.9
    expected = [100, bought + shares * 20, sold, sold]
    assert simulate(bars, [0.5, 0, 0, 0], 0.1, 0.01, cash=100.0) == pytest.approx(expected)


def test_buy_is_clamped_to_the_cash():
    bars = make_bars([10, 20], [10, 20])
    # 100 pay for 100 / (20 * 1.01 * 1.1) shares, no more
    expected = 20 * 100 / (20 * 1.01 * 1.1)
    assert simulate(bars, [1, 1], 0.1, 0.01, cash=100.0)[1] == pytest.approx(expected)


def test_short_closes_when_its_equity_is_under_a_quarter_of_its_value():
    # 10 shares short at 10, 200 of cash: equity 200 - 10 p; a quarter of 10 p is reached at p = 16
    bars = make_bars([10, 10, 16, 17, 12, 12], [10, 15.9, 16.1, 17, 12, 12])
    assert guard(bars, [-1] * 6).tolist() == [-1, -1, 0, 0, 0, 0]
    assert simulate(bars, [-1] * 6, cash=100.0) == pytest.approx([100, 41, 39, 30, 30, 30])


def test_closed_short_opens_again_when_the_raw_target_changes():
    bars = make_bars([10, 10, 16, 17, 12, 12, 10], [10, 15.9, 16.1, 17, 12, 12, 10])
    raw = [-1, -1, -1, -1, -0.5, -0.5, -1]
    assert guard(bars, raw).tolist() == [-1, -1, 0, 0, -0.5, -0.5, -1]


def test_new_raw_target_on_the_bar_of_the_breach_is_traded():
    bars = make_bars([10, 10, 16, 17], [10, 15.9, 17, 17])
    assert guard(bars, [-1, -1, -0.5, -0.5])[2] == -0.5


def test_bankrupt_account_stays_at_zero_for_good():
    bars = make_bars([10, 10, 22, 5, 5], [10, 21, 22, 5, 5])
    assert guard(bars, [-1, -1, 1, -1, 1]).tolist() == [-1, 0, 0, 0, 0]
    # 200 of cash cover 200 / 22 of 10 shares; what is left stays short
    left = 10 - 200 / 22
    expected = [100, -10, -22 * left, -5 * left, -5 * left]
    assert simulate(bars, [-1, -1, 1, -1, 1], cash=100.0) == pytest.approx(expected, rel=1e-9)


def test_no_order_but_a_close_is_sent_at_an_open_without_equity():
    # equity is 50 at the close of 15 and -10 at the open of 21: the long is not ordered
    bars = make_bars([10, 10, 21, 15], [10, 15, 15, 15])
    assert simulate(bars, [-1, 1, 1, 1], cash=100.0) == pytest.approx([100, 50, 50, 50])


@pytest.mark.parametrize("seed", range(3))
def test_guard_obeys_the_prefix_law(seed):
    bars = random_bars(seed)
    raw = np.random.default_rng(seed).choice([-1.0, -0.4, 0.0, 1.0], len(bars) // 20).repeat(20)
    whole, equity = guard(bars, raw, 0.001, 0.0005), simulate(bars, raw, 0.001, 0.0005)
    for cut in range(10, len(bars), 17):
        assert (guard(bars[:cut], raw[:cut], 0.001, 0.0005) == whole[:cut]).all()
        assert (simulate(bars[:cut], raw[:cut], 0.001, 0.0005) == equity[:cut]).all()


@pytest.mark.parametrize("seed", [0, 2, 3, 4])
def test_guarding_twice_changes_nothing(seed):
    bars = random_bars(seed, volatility=0.1)
    raw = np.random.default_rng(seed).choice([-1.0, -0.9], len(bars) // 50).repeat(50)
    once = guard(bars, raw)
    assert (once == 0).any()
    assert (guard(bars, once) == once).all()
    assert (simulate(bars, once) == simulate(bars, raw)).all()


def test_long_targets_pass_unchanged():
    bars = random_bars(0)
    raw = np.random.default_rng(0).uniform(0, 1, len(bars))
    assert (guard(bars, raw, 0.001, 0.0005) == raw).all()


def test_target_outside_the_range_names_the_row():
    bars = random_bars(0, bars=3)
    with pytest.raises(ValueError, match=r"\[-1, 1\]; got 1.5 at 2020-01-02"):
        guard(bars, [0, 1.5, 0])
    with pytest.raises(ValueError, match="got nan"):
        guard(bars, [np.nan, 0, 0])


def test_target_of_other_dates_is_refused():
    bars = random_bars(0, bars=3)
    with pytest.raises(ValueError, match="reindex"):
        guard(bars, pd.Series(0.0, bars.index + pd.Timedelta(days=1)))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        guard(bars, [0.0, 0.0])
