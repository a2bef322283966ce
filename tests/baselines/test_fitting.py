"""`mmdrex fit` on several markets and seeds."""

import pandas as pd
import pytest

import baselines
from baselines import BASELINES
from baselines.fitting import fit_baseline, markets_below
from mmdrex.data.simulated import simulated_bars
from mmdrex.errors import BarsError

QUICK = ("--set", "rounds=3", "--set", "leaves=4", "--select", "2002-01-01")


def write(path, seed, every_day=False):
    bars = simulated_bars(seed, bars=800)[0]
    if every_day:
        bars.index = pd.date_range(bars.index[0], periods=len(bars))
    path.parent.mkdir(parents=True, exist_ok=True)
    bars.to_csv(path, index_label="date")


@pytest.fixture
def prices(tmp_path, monkeypatch):
    """Two markets, one of them in two places, beside a list of files that are no prices."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "prices" / "stocks" / "A.csv", 1)
    write(tmp_path / "prices" / "more" / "stocks" / "B.csv", 2)
    write(tmp_path / "prices" / "coins" / "A.csv", 3, every_day=True)
    (tmp_path / "prices" / "manifest.csv").write_text("symbol,class\nA,stocks\n")
    return tmp_path / "prices"


def test_market_is_named_after_its_folder(prices):
    markets = markets_below(prices)
    assert {market: list(frames) for market, frames in markets.items()} == {
        "coins": ["A"],
        "stocks": ["B", "A"],
    }


def test_each_market_of_a_folder_gets_a_baseline_of_its_own(prices, call):
    code, out, _ = call("fit", "lgbm", prices, *QUICK)
    assert code == 0
    apart = [baselines.load(f"runs/lgbm/{market}") for market in ("coins", "stocks")]
    assert apart[0].files() != apart[1].files()
    # Pooled: the same as fitted on both files of the market together.
    frames = markets_below(prices)["stocks"]
    pooled = fit_baseline(BASELINES["lgbm"](rounds=3, leaves=4), frames, "2002-01-01")
    assert apart[1].files() == pooled.files()
    assert "--strategy runs/lgbm/stocks" in out


def test_markets_are_not_mixed(prices, call):
    files = (prices / "stocks" / "A.csv", prices / "coins" / "A.csv")
    (prices / "coins" / "A.csv").rename(prices / "coins" / "C.csv")
    code, _, err = call("fit", "lgbm", files[0], prices / "coins" / "C.csv", *QUICK)
    assert code == 2
    assert "C trades at weekends and A does not" in err


def test_each_seed_gets_a_folder_of_its_own(prices, call):
    options = ("--set", "epochs=1", "--set", "hidden=4", "--set", "lookback=5", "--seeds", 2)
    code, _, _ = call("fit", "lstm", prices / "stocks", "--select", "2002-01-01", *options)
    assert code == 0
    first, second = (baselines.load(f"runs/lstm/{seed}") for seed in (42, 43))
    assert (first.seed, second.seed) == (42, 43)
    assert first.files() != second.files()


def test_folder_above_the_fitted_ones_names_them(prices, call):
    call("fit", "lgbm", prices, *QUICK)
    code, _, err = call("backtest", prices / "stocks" / "A.csv", "--strategy", "runs/lgbm")
    assert code == 2
    assert "there is one in runs/lgbm/coins, runs/lgbm/stocks" in err


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("macd", "sp500", "--seeds", 2), "macd is not"),
        (("lgbm", "none"), "no file or sample 'none'"),
        (("lgbm", "sp500"), "--select"),
    ],
)
def test_bad_options_end_in_one_line(call, arguments, answer):
    code, _, err = call("fit", *arguments)
    assert code == 2
    assert answer in err and err.count("\n") == 1


def test_folder_without_prices_is_named(tmp_path):
    with pytest.raises(BarsError, match="no price file below"):
        markets_below(tmp_path)


def test_two_files_of_one_asset_are_refused(prices):
    write(prices / "more" / "stocks" / "A.csv", 5)
    with pytest.raises(BarsError, match="stocks has two files of A"):
        markets_below(prices)


def test_trees_are_the_same_with_more_threads(market):
    one, two = (
        BASELINES["lgbm"](rounds=3, leaves=4, threads=threads).fit(*market).decide(market[1]["SIM"])
        for threads in (1, 2)
    )
    assert (one == two).all()
