"""The README's commands and programs do what it says."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mmdrex
from mmdrex.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def apple():
    # Two and a half years: enough for two decisions, and the README's Cerebro stays quick.
    return mmdrex.sample_bars("nasdaq").iloc[:640]


def test_python_blocks_run_in_order(apple, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    apple.to_csv("AAPL.csv", index_label="date")
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["plan"].target.abs().max() <= 1.0
    assert list(names["table"].index) == ["MM-DREX", "half and half"]


def test_make_targets_exist():
    rules = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    wanted = re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE)
    assert wanted and set(wanted) <= set(rules)


def test_makefile_runs_the_main_job_of_the_readme():
    [job] = set(re.findall(r"(mmdrex backtest sp500 --out runs/sp500)", README))
    assert job in (ROOT / "Makefile").read_text()


def test_every_option_of_the_readme_exists():
    help_text = CliRunner().invoke(app, ["backtest", "--help"], env={"COLUMNS": "200"}).output
    lines = re.findall(r"mmdrex backtest .*", README)
    used = {option for line in lines for option in re.findall(r"--[a-z]+", line.split("#")[0])}
    assert used and all(option in help_text for option in used)


def test_licences_of_both_engines_are_named():
    assert "GPL-3.0" in README and "Commons\nClause" in README
