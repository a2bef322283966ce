import json

import numpy as np
import pandas as pd
import pytest

from mmdrex.audit.records import (
    append_decisions,
    read_decisions,
    write_decisions,
    write_equity,
    write_orders,
)
from mmdrex.router.decision import Decision


def decision(day):
    return Decision(
        symbol="沪深300",
        time=pd.Timestamp(day),
        weights=np.array([0.1, 0.2, 0.3, 0.4]),
        rules={
            "trend": "turtle",
            "reversal": "kdj",
            "breakout": "atr_breakout",
            "position": "cash",
        },
        probabilities={"trend": {"turtle": 2 / 3, "momentum": 1 / 3}},
        values={"trend": 0.25},
        observation="abc",
        model="def",
    )


FIRST, SECOND, THIRD = (decision(day) for day in ("2020-01-01", "2020-05-01", "2020-09-01"))


def same(found, expected):
    return [d.to_json() for d in found] == [d.to_json() for d in expected]


def test_decisions_read_back_as_they_were_written(tmp_path):
    path = tmp_path / "decisions.jsonl"
    write_decisions(path, [FIRST, SECOND])
    assert same(read_decisions(path), [FIRST, SECOND])
    [line, _] = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["weights"]["breakout"] == 0.3


def test_appended_decisions_follow_the_written_ones(tmp_path):
    path = tmp_path / "decisions.jsonl"
    append_decisions(path, [FIRST])
    append_decisions(path, [SECOND, THIRD])
    assert same(read_decisions(path), [FIRST, SECOND, THIRD])


def test_half_written_last_line_is_left_out_and_cut_off_by_the_next(tmp_path):
    path = tmp_path / "decisions.jsonl"
    write_decisions(path, [FIRST, SECOND])
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    for cut in range(start, len(content) - 1, 7):  # also inside a character of three bytes
        path.write_bytes(content[:cut])
        assert same(read_decisions(path), [FIRST])
    append_decisions(path, [THIRD])
    assert same(read_decisions(path), [FIRST, THIRD])


def test_faulty_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "decisions.jsonl"
    write_decisions(path, [FIRST, SECOND])
    path.write_text("{}\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"decisions.jsonl, line 1: not a decision"):
        read_decisions(path)


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "decisions.jsonl"
    write_decisions(path, [FIRST])

    def broken():
        yield SECOND
        raise RuntimeError("the router died")

    with pytest.raises(RuntimeError):
        write_decisions(path, broken())
    assert same(read_decisions(path), [FIRST])
    assert [file.name for file in tmp_path.iterdir()] == ["decisions.jsonl"]


def test_equity_reads_back_to_the_last_digit(tmp_path):
    index = pd.bdate_range("2020-01-01", periods=50, name="date")
    equity = pd.Series(np.random.default_rng(0).normal(1e5, 1, 50), index, name="total")
    write_equity(tmp_path / "equity.csv", equity)
    read = pd.read_csv(tmp_path / "equity.csv", index_col="date", parse_dates=True)
    np.testing.assert_array_equal(read["total"], equity)


def test_orders_are_sorted_by_time_and_must_be_complete(tmp_path):
    orders = pd.DataFrame(
        {
            "date": pd.to_datetime(["2020-02-01", "2020-01-01"]),
            "decision": [1, 0],
            "symbol": "a",
            "side": ["sell", "buy"],
            "size": [1.0, 2.0],
            "price": [10.0, 11.0],
            "fees": [0.1, 0.2],
        }
    )
    write_orders(tmp_path / "orders.csv", orders)
    read = pd.read_csv(tmp_path / "orders.csv")
    assert list(read["side"]) == ["buy", "sell"]
    assert list(read.columns) == ["date", "symbol", "side", "size", "price", "fees", "decision"]
    with pytest.raises(ValueError, match="no column 'fees' in the orders"):
        write_orders(tmp_path / "orders.csv", orders.drop(columns="fees"))
