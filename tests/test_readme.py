"""The README's commands and programs do what it says."""

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mmdrex
from mmdrex.cli import app, main

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


def test_table_is_what_its_command_prints(tmp_path, monkeypatch, capsys):
    [text] = blocks("text")
    command, *lines = text.splitlines()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", command.removeprefix("$ ").split())
    with pytest.raises(SystemExit) as ended:
        main()
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert not ended.value.code
    assert printed[: len(lines)] == lines


def test_make_targets_exist():
    rules = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    wanted = re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE)
    assert wanted and set(wanted) <= set(rules)


def test_makefile_runs_the_main_job_of_the_readme():
    [job] = set(re.findall(r"(mmdrex backtest sp500 --out runs/sp500)", README))
    assert job in (ROOT / "Makefile").read_text()


def test_every_option_of_the_readme_exists():
    help_text = CliRunner().invoke(app, ["backtest", "--help"], env={"COLUMNS": "200"}).output
    lines = re.findall(r"^(?:\$ )?mmdrex backtest .*", README, flags=re.MULTILINE)
    used = {option for line in lines for option in re.findall(r"--[a-z]+", line.split("#")[0])}
    assert used and all(option in help_text for option in used)


def test_licences_of_both_engines_are_named():
    assert "GPL-3.0" in README and "Commons\nClause" in README


@pytest.mark.parametrize(
    "page", ["docs/paper.md", "docs/training.md", "README.md", "CONTRIBUTING.md"]
)
def test_every_path_a_page_names_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:mmdrex|strategies|baselines|tests|docs|notebooks)/[^`<]*)`", text)
    assert paths and not [path for path in paths if not (ROOT / path).exists()]


def test_every_choice_of_the_code_has_its_page():
    said = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in ("mmdrex", "strategies", "baselines")
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"# Paper(?: silent)?:", line)
    ]
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    files = {line.split(":")[0] for line in said}
    assert files and not [file for file in sorted(files) if f"`{file}`" not in page]
