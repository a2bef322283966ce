import re

import numpy as np
import pytest

from mmdrex.observation.features import indicator_table
from mmdrex.observation.text import (
    Account,
    cents,
    menu,
    momentum_strength,
    moving_average_order,
    prompt,
    significant,
    volatility_change,
    volume_text,
)
from strategies import EXPERTS, POOL

# MM-DREX, Listing 3, lines 26 to 33.
CLOSES = [67100, 67300, 67250, 67800, 68100, 67900, 68300, 68200, 68450, 68500.5]
LISTING = {
    "close": 68500.5,
    "ma10": 67800.0,
    "ma20": 67500.0,
    "ma100": 65000.0,
    "rsi": 68.5,
    "upper": 69500.0,
    "middle": 67500.0,
    "lower": 65500.0,
    "k": 75.0,
    "d": 70.0,
    "j": 85.0,
    "volume": 1500.0,
    "volume_mean": 1100.0,
    "volume_ratio": 1500 / 1100,
    "change": 0.015,
    "amplitude": 0.025,
    "atr": 1200.0,
    "atr_mean": 1000.0,
    "volatility": 0.0212,
}


@pytest.fixture(scope="module")
def listing(markets):
    table = indicator_table(markets["SIM1"])[:300].copy()
    table["close"][:290] = 66000.0
    table["close"][290:] = CLOSES
    table["high"], table["low"] = 69000.0, 63000.0
    for name, value in LISTING.items():
        table[name][-1] = value
    return table


def test_prompt_prints_the_figures_of_listing_3(listing):
    text = prompt(listing, 299, "CRYPTO.BTC", 100, POOL)
    lines = text.splitlines()
    assert "choose the best trading strategy for CRYPTO.BTC." in lines[0]
    assert lines[1] == "Current price: 68500"  # a tie rounds to even
    for line in (
        "Last 10 closes: 67100 67300 67250 67800 68100 67900 68300 68200 68450 68500",
        "MA10 67800, MA20 67500, MA100 65000",
        "RSI(14) 68.5",
        # (69500 - 65500) / 67500 and (68500.5 - 65500) / (69500 - 65500)
        "Bollinger: upper 69500, lower 65500, width 5.9%, price at 75.0%",
        "KDJ: K 75.0, D 70.0, J 85.0",
        "Volume: 1.5K, 5-day mean 1.1K, ratio 1.36",
        # ATR: 1200 / 68500.5
        "Change 1.50%, amplitude 2.50%, ATR(14) 1.75%, volatility 2.12%",
        # 68500.5 / 66000 - 1, twice: bars 199 and 289 close at 66000; (69000 - 63000) / 68500.5
        "Last return over the past 100 days 3.8%, 10-day momentum 3.8%, 20-day range 8.8%",
        "Judgment: Bullish order, Neutral, Increasing volatility",
    ):
        assert line in lines


def test_menu_is_written_from_the_live_parameters():
    text = menu(POOL)
    assert [line for line in text.splitlines() if line.startswith("[")] == [
        "[Trend]",
        "[Reversal]",
        "[Breakout]",
        "[Position]",
    ]
    for rule in POOL.values():
        assert f"- {rule.title}: {rule.describe(rule.params)}" in text
    changed = menu({**POOL, "bollinger": POOL["bollinger"].with_params(k=2.75)})
    assert "2.75" in changed and "2.75" not in text


def test_menu_follows_the_callers_experts():
    text = menu(POOL, {"trend": ("cash",)})
    assert text.splitlines()[1:] == ["[Trend]", f"- Cash: {POOL['cash'].describe(())}"]


def test_prompt_ends_with_the_question(listing):
    text = prompt(listing, 299, "X", 100, POOL)
    assert text.endswith("\nSelect the strategy most suitable for the current market.")


def test_account_line_is_optional(listing):
    account = Account(cash=85000.0, shares=0.5, value=119250.25)
    text = prompt(listing, 299, "X", 100, POOL, account=account)
    line = "Account balance: 85000, shares held: 0.5, total value: 119250"
    assert line in text.splitlines()
    assert "Account" not in prompt(listing, 299, "X", 100, POOL)


def test_anonymous_prompt_tells_neither_name_nor_price_nor_amounts(listing):
    account = Account(cash=85000.0, shares=0.5, value=119250.25)
    text = prompt(listing, 299, "CRYPTO.BTC", 100, POOL, account=account, anonymous=True)
    assert "BTC" not in text and "an asset" in text
    assert "Current price: 100.00" in text
    # 67100 / 68500.5 = 0.97955; 85000 / 119250.25 = 71.3 %
    assert "Last 10 closes: 97.96 98.25" in text
    assert "cash 71.3%, position 28.7% of total value" in text
    for amount in ("68500", "67800", "1.5K", "85000"):
        assert amount not in text


@pytest.mark.parametrize("market", ["sp500", "nasdaq", "SIM1", "SIM2", "SIM3"])
def test_anonymous_prompt_is_the_same_at_twice_the_price(markets, market):
    bars = markets[market]
    once, twice = indicator_table(bars), indicator_table(bars * 2.0)
    for t in range(198, len(bars), 97):
        texts = {prompt(table, t, "X", 100, POOL, anonymous=True) for table in (once, twice)}
        assert len(texts) == 1


@pytest.mark.parametrize("market", ["sp500", "nasdaq", "SIM1", "SIM2", "SIM3"])
def test_prompt_is_short_and_complete(markets, market):
    table = indicator_table(markets[market])
    account = Account(85000.0, 1234.5, 1e6)
    for t in range(198, len(table), 97):
        text = prompt(table, t, market, 100, POOL, account=account)
        assert len(text) < 1500
        assert not re.search(r"nan|inf\b|e[+-]\d", text)


def test_no_date_is_printed(markets):
    bars = markets["sp500"]
    text = prompt(indicator_table(bars), 700, "sp500", 100, POOL)
    assert str(bars.index[700].year) not in text.replace("2001.", "")


def test_moving_average_order_is_that_of_table_14():
    assert moving_average_order(3, 2, 1) == "Bullish order"
    assert moving_average_order(1, 2, 3) == "Bearish order"
    for averages in ((2, 3, 1), (2, 2, 1), (1, 1, 1), (2, 1, 3)):
        assert moving_average_order(*averages) == "Mixed"


def test_momentum_strength_has_its_borders_at_30_and_70():
    assert [momentum_strength(rsi) for rsi in (29.99, 30.0, 70.0, 70.01)] == [
        "Oversold",
        "Neutral",
        "Neutral",
        "Overbought",
    ]


def test_volatility_is_stable_within_five_percent():
    assert [volatility_change(atr, 100.0) for atr in (94.9, 95.1, 104.9, 105.1)] == [
        "Decreasing volatility",
        "Stable volatility",
        "Stable volatility",
        "Increasing volatility",
    ]


def test_price_of_any_size_has_the_same_number_of_digits():
    digits = np.random.default_rng(0).uniform(1.0, 10.0, 200)
    for mantissa in digits:
        for exponent in range(-6, 4):
            text = significant(mantissa * 10.0**exponent)
            assert len(text.replace(".", "").lstrip("0")) == 4
            assert float(text) == pytest.approx(mantissa * 10.0**exponent, rel=6e-4)
    assert significant(0.99999) == "1.000"
    assert significant(1234567.0) == "1235000"
    assert significant(0.00123456) == "0.001235"


def test_flat_market_has_a_band_of_no_width():
    index_table = indicator_table_of_a_flat_market()
    text = prompt(index_table, 199, "X", 100, POOL)
    assert "width 0.0%, price at 50.0%" in text and "nan" not in text


def indicator_table_of_a_flat_market():
    import pandas as pd

    index = pd.bdate_range("2020-01-01", periods=200)
    prices = {name: 5.0 for name in ("open", "high", "low", "close")}
    return indicator_table(pd.DataFrame({**prices, "volume": 0.0}, index=index))


def test_price_below_one_is_printed_in_a_smaller_unit(markets):
    bars = markets["SIM1"]
    small = bars * (0.0004575 / bars.close.iloc[500])
    text = prompt(indicator_table(small), 500, "X", 100, POOL)
    assert "Current price: 0.00045750" in text
    assert "Market, prices in 0.0001:" in text
    last = [float(x) for x in re.search(r"closes: ([^\n]+)", text).group(1).split()]
    assert last[-1] == 4.575
    assert last == pytest.approx(small.close.iloc[491:501].to_numpy() * 1e4, rel=1e-3)
    assert [cents(price) for price in (0.0999, 0.1, 0.9999, 1.0, 500.0)] == [2, 1, 1, 0, 0]


def test_volume_is_printed_with_a_unit():
    values = (0.0, 0.123456, 999.0, 1500.0, 999960.0, 20460787.0, 3.6e9, 2e12)
    assert [volume_text(value) for value in values] == [
        "0",
        "0.123",
        "999",
        "1.5K",
        "1M",
        "20.5M",
        "3.6B",
        "2T",
    ]


def test_every_expert_of_the_pool_is_on_the_menu():
    assert {name for names in EXPERTS.values() for name in names} == set(POOL)
