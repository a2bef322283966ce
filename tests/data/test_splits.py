import itertools

import numpy as np
import pandas as pd
import pytest

from mmdrex.data.splits import (
    SPLITS,
    first_earned,
    outcomes_inside,
    overlaps,
    span_label,
    split_of,
    split_range,
)


@pytest.mark.parametrize(
    ("day", "crypto", "split"),
    [
        ("2021-12-31", False, "train"),
        ("2021-12-31 16:00", False, "train"),
        ("2022-01-01", False, "validation"),
        ("2023-08-31", False, "validation"),
        ("2023-09-01", False, "test"),
        ("2023-07-14", True, "train"),
        ("2023-07-15", True, "validation"),
        ("2024-05-18", True, "validation"),
        ("2024-05-19", True, "test"),
    ],
)
def test_borders_are_those_of_the_design(day, crypto, split):
    assert split_of(pd.Timestamp(day), crypto) == split


@pytest.mark.parametrize("crypto", [False, True])
def test_splits_follow_each_other_without_gap(crypto):
    order = ("fit", "select", "validation", "test")
    for before, after in itertools.pairwise(order):
        gap = split_range(after, crypto)[0] - split_range(before, crypto)[1]
        assert gap == pd.Timedelta(days=1)
    assert split_range("train", crypto)[0] == split_range("fit", crypto)[0]
    assert split_range("train", crypto)[1] == split_range("select", crypto)[1]


def test_select_is_the_last_year_of_train():
    first, last = split_range("select")
    assert (first, last) == (pd.Timestamp("2021-01-01"), pd.Timestamp("2021-12-31"))


def test_outcome_may_not_cross_a_border_and_its_look_back_may():
    index = pd.bdate_range("2021-10-01", "2022-06-30")
    border = int(index.searchsorted(pd.Timestamp("2022-01-01")))  # first bar of validation
    decisions = np.arange(len(index))
    inside = {split: outcomes_inside(index, decisions, 10, split) for split in SPLITS}
    assert inside["train"].nonzero()[0].max() == border - 11  # last outcome bar: border - 1
    assert inside["validation"].nonzero()[0].min() == border - 1  # first outcome bar: border
    assert not (inside["train"] & inside["validation"]).any()
    assert (~inside["train"] & ~inside["validation"])[border - 10 : border - 1].all()


def test_fit_is_purged_against_select():
    index = pd.bdate_range("2020-10-01", "2021-06-30")
    inside = outcomes_inside(index, np.arange(len(index)), 10, "fit")
    last = int(inside.nonzero()[0].max())
    assert index[last + 10] == pd.Timestamp("2020-12-31")


def test_outcome_cut_off_by_the_end_of_the_prices_is_not_inside():
    index = pd.bdate_range("2020-01-01", periods=20)
    assert outcomes_inside(index, np.array([9, 10]), 10, "train").tolist() == [True, False]


def test_span_label_names_every_split_touched():
    def label(first, last):
        return span_label(pd.Timestamp(first), pd.Timestamp(last))

    assert label("2000-01-01", "2021-12-31") == "train"
    assert label("2021-12-31", "2022-01-03") == "train+validation"
    assert label("2000-01-01", "2025-01-01") == "train+validation+test"
    with pytest.raises(ValueError, match="before it starts"):
        label("2022-01-01", "2021-01-01")


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="no split 'dev'"):
        split_range("dev")


def test_what_is_decided_earns_from_the_next_bar():
    days = pd.DatetimeIndex(["2021-12-30", "2022-01-03", "2022-01-04"])
    assert first_earned(days, days[0]) == days[1]
    assert first_earned(days, pd.Timestamp("2021-12-31")) == days[1]
    assert first_earned(days, days[2]) == days[2]
    trained = ("2010-01-04", "2021-12-31")
    assert not overlaps(trained, days[1], days[2])
    assert overlaps(trained, days[0], days[2])
    assert not overlaps(("2022-02-01", "2023-01-31"), days[0], days[2])
