"""`mmdrex check`: every planted fault is found, at its bar, and nothing else."""

import backtrader as bt
import numpy as np
import pytest

from mmdrex.data.simulated import simulated_bars
from mmdrex.engines.contract import broken, cut_rows
from mmdrex.engines.strategy_run import check_anything


@pytest.fixture(scope="module")
def bars():
    return simulated_bars(1, bars=150)[0]


def faults(thing, bars, cuts=10):
    return {
        finding.law: finding.fault for finding in check_anything(thing, bars, cuts) if finding.fault
    }


def above_average(bars):
    return (bars["close"] > bars["close"].rolling(20).mean()).astype(float)


class Follows(bt.Strategy):
    share = 0.9

    def __init__(self):
        self.average = bt.ind.SMA(period=20)

    def wants(self):
        return self.data.close[0] > self.average[0]

    def next(self):
        self.order_target_percent(target=self.share if self.wants() else -0.5)


class Peeks(Follows):
    def wants(self):
        known = len(self) < self.data.buflen()
        return known and self.data.close[1] > self.data.close[0]


class Crashes(Follows):
    def wants(self):
        return self.data.close[0] / 0.0 > 0.0


class Moody(Follows):
    def wants(self):
        return np.random.default_rng().random() > 0.5


def test_honest_targets_keep_every_law(bars):
    findings = check_anything(above_average, bars)
    laws = ["range", "bars left alone", "determinism", "prefix law", "both engines"]
    assert [finding.law for finding in findings] == laws
    assert not broken(findings)


def test_tomorrow_s_close_breaks_the_prefix_law_at_the_last_bar_of_a_prefix(bars):
    found = faults(lambda bars: (bars["close"].shift(-1) > bars["close"]).astype(float), bars)
    assert set(found) == {"prefix law"}
    assert "once later bars are known" in found["prefix law"]


def test_scale_of_the_whole_history_breaks_the_prefix_law(bars):
    found = faults(lambda bars: bars["close"] / bars["close"].max(), bars)
    assert set(found) == {"prefix law"}


def test_target_of_two_is_named_with_its_bar(bars):
    found = faults(lambda bars: np.where(np.arange(len(bars)) == 7, 2.0, 0.0), bars)
    assert list(found) == ["range"]
    assert f"{bars.index[7]:%Y-%m-%d}" in found["range"]


def test_targets_of_another_length_are_out_of_range(bars):
    assert "must have shape (150,)" in faults(lambda bars: np.zeros(3), bars)["range"]


def test_random_targets_are_not_deterministic(bars):
    assert "determinism" in faults(lambda bars: np.random.default_rng().random(len(bars)), bars)


def test_function_that_writes_into_the_bars_is_found(bars):
    def writes(bars):
        bars.iloc[3, 0] = 1.0
        return np.zeros(len(bars))

    assert faults(writes, bars)["bars left alone"].endswith("(bar 3)")


def test_failure_on_a_short_prefix_says_how_short(bars):
    found = faults(lambda bars: np.full(len(bars), bars["close"].iloc[30] * 0.0), bars)
    assert "with the first 1 bars only: IndexError" in found["prefix law"]


def test_object_with_targets_is_checked_like_a_function(bars):
    class Mine:
        def targets(self, bars):
            return above_average(bars)

    assert not faults(Mine, bars)
    assert not faults(Mine(), bars)


def test_what_is_no_producer_is_refused(bars):
    with pytest.raises(ValueError, match="no function of bars"):
        check_anything(3, bars)


def test_honest_strategy_keeps_every_law(bars):
    assert not faults(Follows, bars)


def test_strategy_that_reads_the_next_bar_breaks_the_prefix_law(bars):
    assert set(faults(Peeks, bars)) == {"prefix law"}


def test_strategy_that_borrows_is_out_of_range(bars):
    class Shorts(Follows):
        def wants(self):
            return False

        def next(self):
            self.order_target_percent(target=-1.9)

    assert "1.90 times the equity" in faults(Shorts, bars)["range"]


def test_orders_that_only_borrowing_would_fill_are_out_of_range(bars):
    class Borrows(Follows):
        def next(self):
            self.order_target_percent(target=1.8)

    fault = faults(Borrows, bars)["range"]
    assert "an order for 1.80 times the equity, which the broker refused" in fault


def test_all_in_order_refused_after_a_gap_is_no_fault(bars):
    class AllIn(Follows):
        def next(self):
            self.order_target_percent(target=1.0 if self.wants() else 0.0)

    assert not faults(AllIn, bars)


def test_strategy_with_moods_is_not_deterministic(bars):
    assert "determinism" in faults(Moody, bars)


def test_strategy_that_fails_does_not_run(bars):
    assert faults(Crashes, bars) == {"runs": "ZeroDivisionError: float division by zero"}


def test_cuts_are_as_many_as_asked_and_lie_inside():
    cuts = cut_rows(600, 50)
    assert len(cuts) >= 49
    assert cuts[:2] == [1, 2]
    assert cuts[-1] < 600
