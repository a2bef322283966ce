"""The command line: what a run leaves, what it prints, how bad input ends."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import mmdrex
from mmdrex import cli
from mmdrex.audit.records import read_decisions
from mmdrex.engines.job import run_folder

ROOT = Path(__file__).parent.parent
SHORT = ("sp500", "--start", "2018-01-01")  # three decisions


def call(monkeypatch, capsys, *arguments):
    """Return exit code, standard output and standard error of the command line."""
    monkeypatch.setattr(sys, "argv", ["mmdrex", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


@pytest.fixture(scope="module")
def routed(tmp_path_factory):
    """Return the folder and the screen of a run with the embedded router."""
    folder = tmp_path_factory.mktemp("routed") / "runs" / "sp500"
    done = subprocess.run(
        [sys.executable, "-m", "mmdrex.cli", "backtest", *SHORT, "--out", str(folder), "--audit"],
        cwd=folder.parents[1],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


def test_run_leaves_every_promised_file(routed):
    folder, _, _ = routed
    names = {"tearsheet.html", "equity.csv", "orders.csv", "decisions.jsonl", "equity.png"}
    assert names | {"charts", "table.csv", "run.json", "observations.jsonl"} == {
        path.name for path in folder.iterdir()
    }
    assert not list(folder.parent.glob("*.partial")) and not list(folder.rglob(".*"))


def test_charts_are_two_views_per_decision(routed):
    folder, _, _ = routed
    decisions = read_decisions(folder / "decisions.jsonl")
    charts = sorted(path.name for path in (folder / "charts" / "sp500").iterdir())
    assert charts == sorted(
        f"{decision.time:%Y-%m-%d}_{view}.png"
        for decision in decisions
        for view in ("global", "local")
    )
    with Image.open(folder / "charts" / "sp500" / charts[0]) as image:
        image.verify()


def test_decisions_are_a_window_apart_and_stamped(routed):
    folder, _, _ = routed
    lines = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    index = mmdrex.sample_bars("sp500").index
    rows = index.get_indexer(pd.DatetimeIndex([line["time"] for line in lines]))
    assert index[rows[0]] == pd.Timestamp("2017-12-29")  # the last bar before --start
    assert set(rows[1:] - rows[:-1]) == {90}
    assert all(line["split"].startswith("train") for line in lines)
    assert all(line["in_sample"] == ("IN-SAMPLE" in line["split"]) for line in lines)


def test_audit_keeps_the_prompt_that_the_decision_digests(routed):
    folder, _, _ = routed
    kept = [json.loads(line) for line in (folder / "observations.jsonl").read_text().splitlines()]
    decisions = read_decisions(folder / "decisions.jsonl")
    assert [line["observation"] for line in kept] == [d.observation for d in decisions]
    assert all(len(line["series"]) == 100 for line in kept)


def test_equity_and_orders_tell_the_same_story(routed):
    folder, _, _ = routed
    equity = pd.read_csv(folder / "equity.csv", index_col="date", parse_dates=True)
    orders = pd.read_csv(folder / "orders.csv", parse_dates=["date"])
    close = mmdrex.sample_bars("sp500")["close"].iloc[-1]
    signed = orders["size"].where(orders["side"] == "buy", -orders["size"])
    cash = 100_000.0 - (signed * orders["price"]).sum() - orders["fees"].sum()
    assert cash + signed.sum() * close == pytest.approx(equity["MM-DREX"].iloc[-1], rel=1e-9)
    assert (equity.iloc[0] == 100_000.0).all()


def test_screen_says_rows_costs_split_seed_and_stamp(routed):
    _, screen, _ = routed
    for row in ("MM-DREX", "buy-and-hold", "uniform weights", "trend alone", "reversal alone"):
        assert row in screen
    assert "breakout alone" in screen and "position alone" in screen
    assert "zero costs" in screen and "net of fees 0 %, slippage 0.05 %" in screen
    assert "split train" in screen and "seed 42" in screen


def test_in_sample_is_stamped_exactly_where_the_training_dates_overlap(routed):
    folder, screen, _ = routed
    from mmdrex.router.router import Router

    trained = Router.from_pretrained("tiny").trained
    first, last = trained.get("exchange", ("9999", "0000"))
    overlaps = first <= "2018-12-31" and last >= "2017-12-29"
    assert json.loads((folder / "run.json").read_text())["in_sample"] == overlaps
    assert ("IN-SAMPLE" in screen) == overlaps
    assert ("IN-SAMPLE" in (folder / "tearsheet.html").read_text()) == overlaps


def test_buy_and_hold_on_the_screen_is_the_index_itself(routed):
    folder, _, _ = routed
    table = pd.read_csv(folder / "table.csv", index_col=["costs", "strategy"])
    bars = mmdrex.sample_bars("sp500").loc["2018-01-02":]
    grown = bars["close"].iloc[-1] / bars["open"].iloc[0] - 1.0  # bought at the first open
    assert table.loc[("zero", "buy-and-hold"), "TR"] == pytest.approx(grown, rel=1e-9)


def test_progress_bar_runs(routed):
    assert "100%" in routed[2]


def test_engines_leave_the_same_equity(tmp_path, monkeypatch, capsys):
    curves = {}
    for engine in ("backtrader", "vectorbt"):
        out = tmp_path / engine
        done = call(
            monkeypatch, capsys, "backtest", "sp500", "nasdaq", "--start", "2016-01-01",
            "--strategy", "turtle", "--fees", "0.001", "--engine", engine, "--out", out,
        )  # fmt: skip
        assert done[0] == 0
        curves[engine] = pd.read_csv(out / "sleeves.csv", index_col="date")
    gap = (curves["backtrader"] / curves["vectorbt"] - 1.0).abs().max().max()
    assert gap < 1e-9


def test_portfolio_skips_and_lists_what_is_too_short(tmp_path, monkeypatch, capsys):
    mmdrex.sample_bars("sp500").iloc[:250].to_csv(tmp_path / "young.csv", index_label="date")
    code, _, errors = call(
        monkeypatch, capsys, "backtest", tmp_path / "young.csv", "nasdaq", "--start", "2018-01-01",
        "--strategy", "long_only", "--engine", "vectorbt", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert "skipped: young has 250 bars" in errors
    assert list(json.loads((tmp_path / "out" / "run.json").read_text())["skipped"]) == ["young"]


def test_second_run_replaces_the_first(tmp_path, monkeypatch, capsys):
    run = ("backtest", *SHORT, "--engine", "vectorbt", "--out", tmp_path / "out", "--strategy")
    assert call(monkeypatch, capsys, *run, "cash")[0] == 0
    assert call(monkeypatch, capsys, *run, "long_only")[0] == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["name"] == "long_only"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folder_of_somebody_else_is_left_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    code, _, errors = call(
        monkeypatch, capsys, "backtest", *SHORT, "--strategy", "cash", "--out", tmp_path
    )
    assert code == 2 and "no backtest wrote" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_partial_folder_of_somebody_else_is_left_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.tex").write_text("years of work")
    run = ("backtest", *SHORT, "--strategy", "cash", "--out", tmp_path / "out")
    assert call(monkeypatch, capsys, *run)[0] == 2
    assert (tmp_path / "out.partial" / "thesis.tex").exists()


def test_failed_run_leaves_the_former_one_and_no_rest(tmp_path, monkeypatch, capsys):
    run = ("backtest", *SHORT, "--engine", "vectorbt", "--out", tmp_path / "a" / "out")
    assert call(monkeypatch, capsys, *run, "--strategy", "cash")[0] == 0
    code, _, errors = call(monkeypatch, capsys, *run, "--router", tmp_path / "nothing")
    assert code == 2 and len(errors.strip().splitlines()) == 1
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]
    assert (tmp_path / "a" / "out" / "tearsheet.html").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sp50"], "no file or sample 'sp50'. Did you mean 'sp500'?"),
        (["{tmp}/AAPL.csv"], "Did you mean '{tmp}/AAPL_2.csv'?"),
        (["{tmp}"], "is a folder"),
        (["{tmp}/broken.csv"], "no column 'volume' in broken.csv"),
        (["yaho:AAPL"], "Did you mean 'yahoo:AAPL'?"),
        (["simulated:x"], "whole number"),
        (["sp500", "sp500"], "both named sp500"),
        (["sp500", "--window", "0"], "--window"),
        (["sp500", "--lookback", "3"], "--lookback"),
        (["sp500", "--windw", "3"], "No such option: --windw. Did you mean '--window'?"),
        (["sp500", "--engine", "vectorb"], "Did you mean 'vectorbt'?"),
        (["sp500", "--weights", "unifrm"], "Did you mean 'uniform'?"),
        (["sp500", "--costs", "us_stock"], "Did you mean 'us_stocks'?"),
        (["sp500", "--strategy", "bolinger"], "Did you mean 'bollinger'?"),
        (["sp500", "--router", "{tmp}/router"], "router"),
        (["sp500", "--router", "tyni"], "tyni"),
        (["sp500", "--fees", "nan"], "--fees"),
        (["sp500", "--slippage", "1.5"], "--slippage"),
        (["sp500", "--cash", "-1"], "--cash"),
        (["sp500", "--start", "2017"], "--start must be a date"),
        (["sp500", "--start", "2030-01-01"], "sp500 ends on 2018-12-31"),
        (["sp500", "--end", "1999-03-01"], "sp500 has 39 bars"),
        (["sp500", "--out", "{tmp}/AAPL_2.csv"], "is a file"),
        (["sp500", "--out", "{tmp}/AAPL_2.csv/x"], "Not a directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_with_one_line_and_leaves_nothing(
    arguments, said, tmp_path, monkeypatch, capsys
):
    bars = mmdrex.sample_bars("sp500").iloc[:400]
    bars.to_csv(tmp_path / "AAPL_2.csv", index_label="date")
    bars.drop(columns="volume").to_csv(tmp_path / "broken.csv", index_label="date")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, out, errors = call(
        monkeypatch, capsys, "backtest", *(text.format(tmp=tmp_path) for text in arguments)
    )
    assert code == 2 and out == ""
    assert len(errors.strip().splitlines()) == 1
    assert said.format(tmp=tmp_path) in errors and "Traceback" not in errors
    assert sorted(tmp_path.rglob("*")) == before


def test_misspelt_command_is_answered_with_the_right_one(monkeypatch, capsys):
    code, _, errors = call(monkeypatch, capsys, "backtst", "sp500")
    assert code == 2 and "Did you mean 'backtest'?" in errors


def test_version_is_printed(monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "--version")
    assert code == 0 and out == f"mmdrex {mmdrex.__version__}\n"


def test_training_commands_have_a_place(monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "train", "--help")
    assert code == 0 and "stage by stage" in out


@pytest.fixture
def heeds_interrupts():
    """Let SIGINT through, as a suite started in the background, and its children, would not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
def test_interrupt_that_a_library_swallows_still_ends_the_run(tmp_path):
    out = tmp_path / "run"
    # The last of the three stands for the library.
    with pytest.raises(KeyboardInterrupt), run_folder(out), suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not out.exists() and (tmp_path / "run.partial").is_dir()


@pytest.mark.usefixtures("heeds_interrupts")
def test_interrupted_run_leaves_whole_decisions(tmp_path):
    out = tmp_path / "runs" / "sp500"
    run = subprocess.Popen(
        [sys.executable, "-m", "mmdrex.cli", "backtest", "sp500", "--out", str(out)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        stderr=subprocess.PIPE,
        text=True,
    )
    decisions = out.with_name("sp500.partial") / "decisions.jsonl"
    until = time.monotonic() + 240.0
    while not decisions.exists() and run.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in errors
    assert f"interrupted; what was finished is in {out}.partial" in errors
    assert not out.exists()
    assert json.loads((out.with_name("sp500.partial") / "run.json").read_text()) == {
        "finished": False
    }
    assert len(read_decisions(decisions)) == 54  # (5031 - 1 - 198) / 90, rounded up
