import gzip
import re

import numpy as np
import pandas as pd
import pytest

from mmdrex.data.bars import load_bars, periods_per_year, validate_bars
from mmdrex.errors import BarsError

CSV = """date,open,high,low,close,volume
2020-01-02,10,12,9,11,100
2020-01-03,11,13,10,12,0
2020-01-06,12,14,11,13,300
"""


def table(**columns):
    values = {
        "open": [10.0, 11.0, 12.0],
        "high": [12.0, 13.0, 14.0],
        "low": [9.0, 10.0, 11.0],
        "close": [11.0, 12.0, 13.0],
        "volume": [100.0, 0.0, 300.0],
    }
    index = pd.DatetimeIndex(["2020-01-02", "2020-01-03", "2020-01-06"])
    return pd.DataFrame({**values, **columns}, index=index)


def refusal(source, **keywords):
    with pytest.raises(BarsError) as error:
        load_bars(source, **keywords)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_csv_gives_float_columns_on_naive_dates_and_the_stem_as_symbol(tmp_path):
    path = tmp_path / "2828.HK.csv"
    path.write_text(CSV)
    bars = load_bars(path)
    assert list(bars.columns) == ["open", "high", "low", "close", "volume"]
    assert (bars.dtypes == np.float64).all()
    assert bars.index.tz is None and bars.index.freq is None and bars.index.name == "date"
    assert bars.close.tolist() == [11.0, 12.0, 13.0]
    assert bars.attrs["symbol"] == "2828.HK"
    assert load_bars(str(path), symbol="HSCEI").attrs["symbol"] == "HSCEI"


def test_parquet_gives_the_same_bars_as_csv(tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    bars = load_bars(tmp_path / "a.csv")
    bars.to_parquet(tmp_path / "a.parquet")
    bars.reset_index().to_parquet(tmp_path / "b.pq")
    for name in ("a.parquet", "b.pq"):
        pd.testing.assert_frame_equal(load_bars(tmp_path / name), bars)


def test_loading_leaves_the_callers_table_unchanged():
    frame = table()
    before = frame.copy()
    bars = load_bars(frame)
    bars.iloc[0, 0] = 0.0
    pd.testing.assert_frame_equal(frame, before)


def test_bars_validate_to_themselves():
    bars = load_bars(table(), symbol="A")
    pd.testing.assert_frame_equal(validate_bars(bars, "A"), bars)


def test_rounding_dust_widens_high_and_low():
    bars = load_bars(table(close=[11.0, 13.0 * (1 + 1e-12), 11.0 * (1 - 1e-12)]))
    assert bars.high.iloc[1] == bars.close.iloc[1]
    assert bars.low.iloc[2] == bars.close.iloc[2]


def test_missing_column_is_named_with_what_was_found(tmp_path):
    path = tmp_path / "AAPL.csv"
    path.write_text("date,open,high,low,close\n2020-01-02,1,1,1,1\n")
    assert refusal(path) == ("no column 'volume' in AAPL.csv; found date, open, high, low, close")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"close": [11.0, np.nan, 13.0]}, r"row 2 \(2020-01-03\) of A: close is missing"),
        ({"open": [10.0, 11.0, np.inf]}, r"row 3 \(2020-01-06\) of A: open is infinite"),
        ({"low": [0.0, 10.0, 11.0]}, r"row 1 \(2020-01-02\) of A: low is not positive \(0\)"),
        ({"low": [-9.0, 10.0, 11.0]}, r"row 1 .* low is not positive \(-9\)"),
        ({"volume": [1.0, -5.0, 1.0]}, r"row 2 .* volume is negative \(-5\)"),
        ({"volume": [1.0, np.nan, 1.0]}, r"row 2 .* volume is missing"),
        ({"volume": [np.inf, 0.0, 1.0]}, r"row 1 .* volume is infinite"),
        ({"high": [12.0, 9.5, 14.0]}, r"row 2 .* high 9.5 is below low 10"),
        ({"close": [11.0, 13.5, 13.0]}, r"row 2 .* close 13.5 is outside low 10 to high 13"),
        ({"open": [10.0, 9.0, 12.0]}, r"row 2 .* open 9 is outside low 10 to high 13"),
        ({"open": ["10", "n/a?", "12"]}, r"row 2 of A: open is 'n/a\?', not a number"),
    ],
)
def test_impossible_value_is_refused_with_its_row_and_the_fix(columns, message):
    text = refusal(table(**columns), symbol="A")
    assert re.match(message, text), text
    assert text.endswith("; correct or drop the row")


def test_repeated_date_is_refused():
    frame = table()
    frame.index = pd.DatetimeIndex(["2020-01-02", "2020-01-03", "2020-01-03"])
    assert refusal(frame, symbol="A") == (
        "row 3 of A repeats the date 2020-01-03; keep one row per date"
    )


def test_unsorted_dates_are_refused():
    assert refusal(table().iloc[::-1], symbol="A") == (
        "row 2 of A: 2020-01-03 comes after 2020-01-06; sort the rows by date"
    )


def test_missing_date_is_refused():
    frame = table().reset_index(names="date")
    frame.loc[1, "date"] = pd.NaT
    assert refusal(frame, symbol="A").startswith("row 2 of A has no date")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"date,open,high,low,close,volume\n", "has no rows"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00\x01", "is not a text file"),
        (b"PK\x03\x04\x00\x00\x00\x00,a\n1,2\n", "is not a text file"),
        (b"date,open\n2020-01-02,1\n2020-01-03,1,2,3\n", "line 3"),
        (b"date,open,high,low,close,close\n2020-01-02,1,1,1,1,1\n", "two columns 'close'"),
        (b"just some prose\nwithout a table\n", "no column 'open'"),
    ],
)
def test_file_that_is_no_table_is_refused(tmp_path, content, message):
    path = tmp_path / "A.csv"
    path.write_bytes(content)
    text = refusal(path)
    assert message in text and "A.csv" in text


def test_text_named_parquet_is_refused(tmp_path):
    path = tmp_path / "A.parquet"
    path.write_text(CSV)
    assert "is not a whole parquet file" in refusal(path)


def test_truncated_parquet_is_refused(tmp_path):
    path = tmp_path / "A.parquet"
    table().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-40] + b"PAR1")
    assert "A.parquet" in refusal(path)


def test_missing_file_and_folder_are_refused(tmp_path):
    assert refusal(tmp_path / "none.csv") == f"no file {tmp_path / 'none.csv'}; check the path"
    assert refusal(tmp_path).startswith(f"{tmp_path} is a folder")


def test_gzipped_file_is_read_and_a_damaged_one_refused(tmp_path):
    path = tmp_path / "A.csv.gz"
    whole = gzip.compress(CSV.encode())
    path.write_bytes(whole)
    bars = load_bars(path)
    assert len(bars) == 3 and bars.attrs["symbol"] == "A"
    for damaged in (b"not gzip at all", whole[:-12], whole[:20] + b"\xff" * 20 + whole[40:]):
        path.write_bytes(damaged)
        assert "A.csv.gz" in refusal(path)


def test_saturdays_make_a_year_of_365_days():
    assert periods_per_year(pd.date_range("2024-01-01", periods=20)) == 365
    assert periods_per_year(pd.bdate_range("2024-01-01", periods=20)) == 252
