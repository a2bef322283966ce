"""Names and parameters of rules, and the series a user gets."""

from __future__ import annotations

import doctest
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import strategies
from strategies import POOL, Rule, targets
from strategies.rule import did_you_mean, pack


def test_targets_are_a_series_on_the_index_of_the_bars(sp500):
    bars = sp500.iloc[:300]
    series = targets("bollinger", bars)
    assert series.index.equals(bars.index)
    assert series.name == "bollinger"
    np.testing.assert_array_equal(series, POOL["bollinger"].targets(bars))


def test_parameters_change_the_targets(sp500):
    bars = sp500.iloc[:600]
    narrow, wide = (np.count_nonzero(targets("bollinger", bars, k=k)) for k in (1.0, 3.0))
    assert narrow > wide


def test_wrong_rule_name_is_answered_with_the_nearest(sp500):
    with pytest.raises(ValueError, match=r"no rule 'bolinger'.*Did you mean 'bollinger'\?"):
        targets("bolinger", sp500)
    with pytest.raises(ValueError, match=r"Did you mean 'ma_cross'\?"):
        targets("MACross", sp500)


def test_wrong_parameter_name_is_answered_with_the_nearest():
    with pytest.raises(TypeError, match=r"no parameter 'kk'.*Did you mean 'k'\?"):
        POOL["bollinger"].with_params(kk=2.0)
    with pytest.raises(TypeError, match=r"cash has no parameter 'k'; it has none\.$"):
        POOL["cash"].with_params(k=2.0)


def test_parameters_keep_their_type_so_that_numba_compiles_once():
    params = POOL["bollinger"].with_params(k=2, n=np.int64(25), L=2.0).params
    assert params == (25, 2.0, 14, 1.8, 2)
    assert [type(value) for value in params] == [int, float, int, float, int]
    assert POOL["ma_cross"].with_params(paper_literal=1).params.paper_literal is True


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("bollinger", {"n": 20.5}, "n must be a whole number from 2 up, not 20.5"),
        ("bollinger", {"n": 1}, "n must be a whole number from 2 up, not 1"),
        ("bollinger", {"L": 0}, "L must be a whole number from 1 up, not 0"),
        ("bollinger", {"k": float("nan")}, "k must be finite, not nan"),
        ("ma_cross", {"paper_literal": 2}, "paper_literal must be True or False, not 2"),
    ],
)
def test_value_that_does_not_fit_is_refused(name, overrides, message):
    with pytest.raises(ValueError, match=message):
        POOL[name].with_params(**overrides)


def test_text_is_no_number():
    with pytest.raises(TypeError, match="k must be a number, not '2'"):
        POOL["bollinger"].with_params(k="2")


def test_rule_survives_pickling_for_worker_processes(rule, sp500):
    copy = pickle.loads(pickle.dumps(rule))
    assert copy.params == rule.params
    np.testing.assert_array_equal(copy.targets(sp500.iloc[:99]), rule.targets(sp500.iloc[:99]))


def test_example_in_the_docstring_runs():
    assert doctest.testmod(importlib.import_module("strategies.pool")) == (0, 4)


def test_with_params_leaves_the_rule_of_the_pool_alone():
    changed = POOL["turtle"].with_params(U=2)
    assert changed.params.U == 2
    assert POOL["turtle"].params.U == 5
    assert isinstance(changed, Rule)


def test_did_you_mean_is_silent_without_a_near_name():
    assert did_you_mean("windw", ["window", "router"]) == " Did you mean 'window'?"
    assert did_you_mean("xyz", ["window", "router"]) == ""


def test_pack_makes_one_record_per_bar():
    table = pack(a=np.array([1.0, 2.0]), b=np.array([3.0, np.nan]))
    assert table.shape == (2,)
    assert table.a.tolist() == [1.0, 2.0]
    assert table[0].b == 3.0


def test_package_names_what_it_lacks():
    with pytest.raises(AttributeError, match="has no attribute 'Bollinger'"):
        strategies.Bollinger  # noqa: B018 - the access is what is tested
    assert {"EXPERTS", "POOL", "Rule", "targets"} <= set(dir(strategies))


def test_importing_the_package_loads_neither_engines_nor_torch_nor_pandas():
    probe = (
        "import sys, time; start = time.perf_counter(); import strategies;"
        "seconds = time.perf_counter() - start;"
        "heavy = {'torch', 'vectorbt', 'backtrader', 'pandas', 'numba', 'talib'};"
        "print(seconds < 0.3, sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True []"
