"""The scripts in ``benchmarks`` start as their docstrings say."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmdrex.data.simulated import simulated_bars

ROOT = Path(__file__).parents[1]
SCRIPTS = [
    path
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
]


def imported(script):
    """Return the names of the packages that a script imports, in order."""
    names = []
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names += [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(str(node.module).split(".")[0])
    return names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_finds_the_package_baselines_and_not_the_script_of_that_name(script):
    names = imported(script)
    ours = [names.index(name) for name in ("mmdrex", "baselines") if name in names]
    assert not ours or names.index("packages_first") < min(ours)


@pytest.mark.parametrize("folder", [".", "benchmarks"])
def test_rule_baselines_are_timed(tmp_path, folder):
    simulated_bars(1, bars=300)[0].to_csv(tmp_path / "one.csv", index_label="date")
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "baselines.py", "--data", tmp_path],
        cwd=ROOT / folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "1 assets, 300 bars" in done.stdout
    assert "within 5 s" in done.stdout
