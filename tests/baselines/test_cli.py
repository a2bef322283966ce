"""`mmdrex fit`, `mmdrex check`, `mmdrex backtest --strategy`."""

import json

import pytest

import baselines

MINE = """
def honest(bars):
    return (bars["close"] > bars["close"].shift(1)).astype(float)

def leaks(bars):
    return (bars["close"] < bars["close"].shift(-1)).astype(float)
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_honest_function_passes_the_check(call, mine):
    code, out, _ = call("check", f"{mine}:honest", "simulated:1", "--bars", 100)
    assert code == 0
    assert out.count("holds") == 5


def test_leak_fails_the_check_and_is_printed_with_its_bar(call, mine):
    code, out, _ = call("check", f"{mine}:leaks", "simulated:1", "--bars", 100)
    assert code == 1
    assert "prefix law       0 at 20" in out


def test_misspelt_function_is_answered_with_a_near_name(call, mine):
    code, _, err = call("check", f"{mine}:honset", "simulated:1")
    assert code == 2
    assert "Did you mean 'honest'" in err


def test_missing_file_ends_in_one_line(call, tmp_path):
    code, _, err = call("check", f"{tmp_path}/none.py:honest")
    assert code == 2
    assert err.count("\n") == 1


def test_rule_with_settings_is_kept_and_traded(call, tmp_path):
    folder = tmp_path / "macd"
    assert call("fit", "macd", "sp500", "--set", "fast=10", "--out", folder)[0] == 0
    assert baselines.load(folder).settings == {"fast": 10, "slow": 26}
    costs = ("--start", "2018-06-01", "--engine", "vectorbt", "--out", tmp_path / "run")
    code, out, _ = call("backtest", "sp500", "--strategy", folder, *costs)
    assert code == 0
    assert "buy-and-hold" in out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["name"] == str(folder)


def test_function_of_one_s_own_is_traded(call, mine, tmp_path):
    costs = ("--start", "2018-06-01", "--engine", "vectorbt", "--out", tmp_path / "run")
    assert call("backtest", "sp500", "--strategy", f"{mine}:honest", *costs)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("mcad", "sp500"), "Did you mean 'macd'"),
        (("macd", "sp500", "--set", "fats=3"), "Did you mean 'fast'"),
        (("macd", "sp500", "--set", "fast=three"), "must be of type int"),
        (("macd", "sp500", "--set", "fast"), "name=value"),
        (("macd", "sp500", "--set", "fast=0"), "must be positive"),
    ],
)
def test_bad_options_end_in_one_line_that_helps(call, arguments, answer):
    code, _, err = call("fit", *arguments)
    assert code == 2
    assert answer in err
    assert err.count("\n") == 1
