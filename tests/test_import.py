"""What importing costs, which names there are, and what happens under a foreign `strategies`."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

import mmdrex
from mmdrex import catalog

ROOT = Path(__file__).parent.parent
HEAVY = ("backtrader", "vectorbt", "quantstats", "torch", "transformers", "peft", "matplotlib")


def python(code, cwd=ROOT, path=ROOT):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def seconds(*command):
    """Return the processor time of a process, the least of six runs.

    Not the wall time: on a machine with other work that says how long the process waited.
    """
    code = (
        "import os, subprocess\n"
        "spent = []\n"
        "for _ in range(6):\n"
        "    before = os.times()\n"
        f"    subprocess.run({list(command)!r}, check=True, capture_output=True)\n"
        "    after = os.times()\n"
        "    user = after.children_user - before.children_user\n"
        "    spent.append(user + after.children_system - before.children_system)\n"
        "print(min(spent))"
    )
    return float(python(code).stdout)


def test_import_takes_under_half_a_second():
    assert seconds(sys.executable, "-c", "import mmdrex") < 0.5


def test_import_of_the_rules_package_takes_under_half_a_second():
    assert seconds(sys.executable, "-c", "import strategies") < 0.5


def test_help_takes_under_a_second():
    assert seconds(sys.executable, "-m", "mmdrex.cli", "--help") < 1.0


@pytest.mark.parametrize("package", ["mmdrex", "strategies", "baselines", "mmdrex.cli"])
def test_import_leaves_the_heavy_packages_alone(package):
    code = f"import sys, {package}; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert python(code).stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(catalog.PUBLIC))
def test_public_name_resolves(name):
    assert getattr(mmdrex, name) is not None
    assert name in dir(mmdrex)


def test_misspelt_public_name_is_answered_with_the_right_one():
    with pytest.raises(AttributeError, match="Did you mean 'load_bars'"):
        mmdrex.load_bar  # noqa: B018  the look-up is the test


def test_neither_engine_is_imported_by_the_other():
    for one, other in (("backtrader", "vectorbt"), ("vectorbt", "backtrader")):
        code = f"import sys, mmdrex.engines.{one}; print({other!r} in sys.modules)"
        assert python(code).stdout.strip() == "False"


@pytest.mark.parametrize("name", ["strategies", "baselines"])
def test_foreign_package_in_the_current_folder_is_named(tmp_path, name):
    foreign = tmp_path / name / "__init__.py"
    foreign.parent.mkdir()
    foreign.write_text("")
    run = python("import mmdrex", cwd=tmp_path)
    last = run.stderr.strip().splitlines()[-1]
    assert run.returncode != 0
    assert last.startswith("ImportError: mmdrex needs its package")
    assert str(foreign) in last and "rename" in last


def test_foreign_module_in_the_current_folder_is_named(tmp_path):
    (tmp_path / "strategies.py").write_text("")
    run = python("import mmdrex", cwd=tmp_path)
    assert str(tmp_path / "strategies.py") in run.stderr.strip().splitlines()[-1]


def test_user_folder_without_an_init_shadows_nothing(tmp_path):
    (tmp_path / "strategies").mkdir()
    assert python("import mmdrex", cwd=tmp_path).returncode == 0


def test_producer_of_a_rule_gives_its_targets():
    bars = mmdrex.sample_bars("sp500").iloc[:300]
    assert (catalog.producer("long_only")(bars) == 1.0).all()


def test_producer_of_a_function_checks_its_range():
    bars = mmdrex.sample_bars("sp500").iloc[:300]
    assert (catalog.producer(lambda bars: bars["close"] * 0.0 + 0.5)(bars) == 0.5).all()
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        catalog.producer(lambda bars: bars["close"])(bars)


def test_unknown_producer_is_answered_with_a_near_name():
    with pytest.raises(ValueError, match="Did you mean 'bollinger'"):
        catalog.producer("bolinger")


def test_version_is_the_changelog_s_first():
    first = next(
        line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")
    )
    assert mmdrex.__version__ in first


def required(*blocks):
    """Return the names of requirements, spelled the way of PEP 503."""
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return {re.split(r"[^\w-]", line)[0].lower().replace("_", "-") for line in lines if line}


@pytest.fixture(scope="module")
def setup():
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_requirement_is_pinned(setup):
    wanted = required(
        setup["options"]["install_requires"], *setup["options.extras_require"].values()
    )
    pins = (ROOT / "constraints.txt").read_text()
    assert wanted <= required(*(line for line in pins.splitlines() if "==" in line))
    assert "torch==2.13.0" in pins.splitlines()


def test_every_import_of_the_packages_is_required(setup):
    imported = set()
    for package in ("mmdrex", "strategies", "baselines"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    imported.add(node.module.split(".")[0])
    foreign = imported - sys.stdlib_module_names - {"mmdrex", "strategies", "baselines"}
    spelled = {"PIL": "pillow", "talib": "ta-lib", "huggingface_hub": "huggingface-hub"}
    spelled |= {"sklearn": "scikit-learn", "yaml": "pyyaml"}
    spelled["stable_baselines3"] = "stable-baselines3"
    wanted = {spelled.get(name, name) for name in foreign}
    extras = setup["options.extras_require"]["yahoo"]
    assert wanted <= required(setup["options"]["install_requires"], extras)


def test_pyproject_holds_the_build_system_and_ruff_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project) == {"build-system", "tool"} and set(project["tool"]) == {"ruff"}
