"""Expected values are sums written out here, from the formulas of Table 13 and of Wilder."""

import math

import numpy as np
import pandas as pd
import pytest

from mmdrex.observation.features import COLUMNS, indicator_table

T = 400  # the row that is checked


@pytest.fixture(scope="module")
def bars(markets):
    return markets["nasdaq"].iloc[: T + 1]


@pytest.fixture(scope="module")
def table(bars):
    return indicator_table(bars)


def test_fields_are_float_and_warm_from_row_hundred_on(table):
    assert table.dtype.names == COLUMNS
    values = table.view(np.float64, np.ndarray).reshape(len(table), -1)
    assert np.isfinite(values[100:]).all()
    assert np.isnan(table.volatility[99]) and np.isnan(table.ma100[98])


def test_change_and_amplitude_are_fractions_of_the_close_before(bars, table):
    before, bar = bars.iloc[T - 1], bars.iloc[T]
    assert table.change[T] == pytest.approx((bar.close - before.close) / before.close)
    assert table.amplitude[T] == pytest.approx((bar.high - bar.low) / before.close)


@pytest.mark.parametrize("n", [10, 20, 100])
def test_moving_averages_are_plain_means(bars, table, n):
    expected = math.fsum(bars.close.iloc[T - n + 1 : T + 1]) / n
    assert table[f"ma{n}"][T] == pytest.approx(expected)


def test_bands_lie_two_population_deviations_off_the_mean(bars, table):
    last = bars.close.iloc[T - 19 : T + 1].to_numpy()
    assert table.middle[T] == pytest.approx(last.mean())
    assert table.upper[T] - table.middle[T] == pytest.approx(2 * last.std(ddof=0))
    assert table.middle[T] - table.lower[T] == pytest.approx(2 * last.std(ddof=0))


def test_rsi_is_wilders(bars, table):
    moves = np.diff(bars.close.to_numpy())
    gain, loss = np.maximum(moves[:14], 0).mean(), np.maximum(-moves[:14], 0).mean()
    for move in moves[14:]:
        gain, loss = (13 * gain + max(move, 0)) / 14, (13 * loss + max(-move, 0)) / 14
    assert table.rsi[T] == pytest.approx(100 * gain / (gain + loss))


def test_kdj_is_the_chinese_one(bars, table):
    k = d = 50.0
    for t in range(8, T + 1):
        top, bottom = bars.high.iloc[t - 8 : t + 1].max(), bars.low.iloc[t - 8 : t + 1].min()
        k = 2 / 3 * k + 1 / 3 * 100 * (bars.close.iloc[t] - bottom) / (top - bottom)
        d = 2 / 3 * d + 1 / 3 * k
    assert (table.k[T], table.d[T], table.j[T]) == pytest.approx((k, d, 3 * k - 2 * d))


def test_macd_is_the_difference_of_two_exponential_averages(bars, table):
    # From row 400 on the seeds of the averages have decayed to less than 1e-9.
    fast, slow = (bars.close.ewm(span=n, adjust=False).mean() for n in (12, 26))
    dif = fast - slow
    dea = dif.ewm(span=9, adjust=False).mean()
    assert table.dif[T] == pytest.approx(dif.iloc[T], rel=1e-6)
    assert table.dea[T] == pytest.approx(dea.iloc[T], rel=1e-6)
    assert table.hist[T] == pytest.approx(dif.iloc[T] - dea.iloc[T], rel=1e-5)


def true_range(bars, t):
    high, low, before = bars.high.iloc[t], bars.low.iloc[t], bars.close.iloc[t - 1]
    return max(high, before) - min(low, before)


def test_atr_is_the_plain_mean_of_table_13(bars, table):
    def atr(t):
        return math.fsum(true_range(bars, t - i) for i in range(14)) / 14

    assert table.atr[T] == pytest.approx(atr(T))
    past = math.fsum(atr(T - i) for i in range(1, 15)) / 14
    assert table.atr_mean[T] == pytest.approx(past)


def test_volatility_is_the_deviation_of_a_hundred_log_returns(bars, table):
    returns = np.diff(np.log(bars.close.to_numpy()))[-100:]
    mean = math.fsum(returns) / 100
    expected = math.sqrt(math.fsum((r - mean) ** 2 for r in returns) / 99)
    assert table.volatility[T] == pytest.approx(expected)


def test_volume_ratio_compares_with_the_five_bars_before(bars, table):
    mean = math.fsum(bars.volume.iloc[T - 5 : T]) / 5
    assert table.volume_mean[T] == pytest.approx(mean)
    assert table.volume_ratio[T] == pytest.approx(bars.volume.iloc[T] / mean)


def test_volume_ratio_is_one_where_nothing_was_traded():
    index = pd.bdate_range("2020-01-01", periods=30)
    flat = pd.DataFrame(
        {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 0.0}, index=index
    )
    assert indicator_table(flat).volume_ratio[-1] == 1.0
