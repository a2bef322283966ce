import pandas as pd
import pytest

from mmdrex.data.simulated import simulated_bars
from mmdrex.data.windows import decision_bars, first_decision, minimum_bars, require_length
from mmdrex.errors import TooFewBarsError

INDEX = pd.bdate_range("2000-01-03", periods=500)


def test_first_decision_has_a_hundred_bar_average_across_the_look_back():
    assert first_decision(100) == 198  # rows 99 .. 198 carry MA100
    assert minimum_bars(100, 90) == 199 + 90


def test_decisions_lie_one_window_apart_and_the_last_window_may_be_short():
    assert decision_bars(INDEX, 90).tolist() == [198, 288, 378, 468]


def test_decision_due_on_the_last_bar_counts():
    assert decision_bars(INDEX[:288], 90).tolist() == [198]
    assert decision_bars(INDEX[:289], 90).tolist() == [198, 288]


def test_start_moves_the_first_decision_to_the_last_bar_before_it():
    assert decision_bars(INDEX, 90, start=INDEX[300]).tolist() == [299, 389, 479]
    saturday = INDEX[299] + pd.Timedelta(days=1)
    assert INDEX[299].day_of_week == 4
    assert decision_bars(INDEX, 90, start=saturday).tolist() == [299, 389, 479]


def test_start_before_the_warm_up_changes_nothing():
    assert decision_bars(INDEX, 90, start="2000-02-01").tolist() == [198, 288, 378, 468]


def test_start_after_the_last_bar_is_refused():
    with pytest.raises(ValueError, match="too early for a start on 2030-01-01"):
        decision_bars(INDEX, 90, start="2030-01-01")


def test_window_of_no_bars_is_refused():
    with pytest.raises(ValueError, match="window must be at least 1 bar; got 0"):
        decision_bars(INDEX, 0)


def test_asset_too_short_for_one_window_is_refused():
    bars, _ = simulated_bars(0, bars=288)
    with pytest.raises(TooFewBarsError, match=r"X has 288 bars.*at least 289"):
        require_length(bars, 100, 90, "X")
    require_length(simulated_bars(0, bars=289)[0], 100, 90, "X")
