import numpy as np
import pandas as pd
import pytest

from mmdrex.data.spelling import naive_dates, spelled
from mmdrex.errors import BarsError

DAYS = pd.DatetimeIndex(["2020-01-03", "2020-06-03"])


def table(**columns):
    values = {"open": [1.0, 2.0], "high": [3.0, 4.0], "low": [0.5, 1.0], "close": [2.0, 3.0]}
    return pd.DataFrame({**values, "volume": [7, 8], **columns})


@pytest.mark.parametrize(
    "date", ["Date", "date", "timestamp", "Datetime", "DATE", "Unnamed: 0", "index", "time"]
)
def test_date_column_is_found_in_any_spelling(date):
    frame = table()
    frame.insert(0, date, ["2020-01-03", "2020-06-03"])
    assert spelled(frame, "A").index.equals(DAYS)


@pytest.mark.parametrize("case", [str.upper, str.title, lambda name: f" {name} "])
def test_columns_are_found_in_any_case(case):
    frame = table().set_index(DAYS).rename(columns=case)
    assert list(spelled(frame, "A").columns) == ["open", "high", "low", "close", "volume"]


def test_dates_may_be_an_index_of_text():
    assert spelled(table().set_index(pd.Index(["2020-01-03", "2020-06-03"])), "A").index.equals(
        DAYS
    )


@pytest.mark.parametrize("adjusted", ["Adj Close", "adj_close", "Adj. Close", "adjclose"])
def test_adjusted_close_scales_all_four_prices_and_not_the_volume(adjusted):
    frame = table(**{adjusted: [1.0, 3.0]}).set_index(DAYS)
    bars = spelled(frame, "A")
    assert bars.iloc[0].tolist() == [0.5, 1.5, 0.25, 1.0, 7.0]
    assert bars.iloc[1].tolist() == [2.0, 4.0, 1.0, 3.0, 8.0]


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0, np.inf])
def test_adjusted_close_that_is_no_price_is_refused_by_name(value):
    with pytest.raises(BarsError, match=r"row 2 of A: Adj Close is .*, not a price"):
        spelled(table(**{"Adj Close": [1.0, value]}).set_index(DAYS), "A")


def test_close_of_zero_beside_an_adjusted_close_stays_for_the_loader_to_refuse():
    frame = table(close=[2.0, 0.0], **{"Adj Close": [1.0, 1.0]}).set_index(DAYS)
    assert spelled(frame, "A").close.tolist() == [1.0, 0.0]


def test_tickers_of_yfinance_are_dropped_from_the_columns():
    frame = table().set_index(DAYS)
    frame.columns = pd.MultiIndex.from_product([frame.columns, ["AAPL"]])
    assert list(spelled(frame, "A").columns) == ["open", "high", "low", "close", "volume"]


def test_several_tickers_are_refused():
    frame = pd.concat({"A": table(), "B": table()}, axis=1).set_index(DAYS)
    with pytest.raises(BarsError, match="x holds several assets"):
        spelled(frame, "x")


def test_column_named_twice_is_refused():
    with pytest.raises(BarsError, match="A has 2 columns 'close'"):
        spelled(table(Close=[1.0, 1.0]).set_index(DAYS), "A")


def test_table_without_dates_is_refused():
    with pytest.raises(BarsError, match="no column 'date' in A; found open, high"):
        spelled(table(), "A")


@pytest.mark.parametrize(
    "values",
    [
        ["2020-01-03 00:00:00-05:00", "2020-06-03 00:00:00-04:00"],
        ["2020-01-03T16:00:00Z", "2020-06-03T16:00:00Z"],
        ["2020-01-03T16:00-05:00", "2020-06-03T16:00-04:00"],
        ["2020/01/03", "2020/06/03"],
        ["20200103", "20200603"],
        [20200103, 20200603],
        [1578009600, 1591142400],
        [1578009600000, 1591142400000],
        [1578009600000.0, 1591142400000.0],
        DAYS,
        DAYS.tz_localize("Asia/Shanghai"),
        DAYS.as_unit("s") + pd.Timedelta("16h"),
    ],
)
def test_dates_are_read_in_many_forms_and_keep_the_wall_clocks_day(values):
    index = naive_dates(pd.Series(values), "A")
    assert index.equals(DAYS) and index.dtype == np.dtype("datetime64[ns]")


def test_bars_within_a_day_keep_their_times():
    times = pd.Series(pd.DatetimeIndex(["2020-01-03 10:00", "2020-01-03 11:00"]))
    assert naive_dates(times, "A").tolist() == times.tolist()


@pytest.mark.parametrize("value", ["03/04/2020", "Jan 3, 2020", "yesterday"])
def test_date_that_could_mean_two_days_is_refused(value):
    with pytest.raises(BarsError, match=f"row 2 of A: the date '{value}' is not of the form"):
        naive_dates(pd.Series(["2020-01-03", value]), "A")


@pytest.mark.parametrize("values", [[0, 1], [-5, 20200103], [1e30, 1e31], [1e12, np.inf]])
def test_numbers_that_are_no_dates_are_refused(values):
    with pytest.raises(BarsError, match=r"the dates of A are numbers from .* write them as"):
        naive_dates(pd.Series(values), "A")


def test_date_in_a_far_century_is_refused():
    with pytest.raises(BarsError, match="before 1678 or after 2262"):
        naive_dates(pd.Series(["2020-01-03", "9999-12-31"]), "A")
