"""A live engine steps bar by bar; it must trade what the scan trades, and compile nothing twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from strategies.rule import pack

ROOT = Path(__file__).parents[2]


def stepped(rule, features) -> list[float]:
    state, targets = rule.flat, []
    for t in range(len(features)):
        state, target = rule.step(state, features[t], rule.params)
        targets.append(target)
    return targets


def test_stepping_bar_by_bar_equals_the_scan(rule, bars):
    features = rule.features(bars, rule.params)
    assert stepped(rule, features) == rule.scan(features, rule.params).tolist()


def test_state_survives_a_round_trip_through_plain_values(rule, bars):
    features = rule.features(bars, rule.params)[:400]
    state, targets = rule.flat, []
    for t in range(len(features)):
        state, target = rule.step(type(state)(*state), features[t], rule.params)
        targets.append(target)
    assert targets == rule.scan(features, rule.params).tolist()


def test_window_starts_flat_with_indicators_on_full_history(rule, bars):
    features = rule.features(bars, rule.params)
    for start in (198, 288, 500):
        window = features[start : start + 90]
        assert stepped(rule, window) == rule.scan(window, rule.params).tolist()


def test_wild_rows_keep_targets_in_range_and_steps_equal_to_the_scan(rule, bars):
    # rows no market produces: every field drawn on its own, so that every branch is met
    features = rule.features(bars, rule.params)
    known = np.asarray(features[60:])
    random = np.random.default_rng(1)
    wild = pack(**{name: random.permutation(known[name]) for name in known.dtype.names})
    target = rule.scan(wild, rule.params)
    assert np.all(np.abs(target) <= 1.0)
    assert stepped(rule, wild) == target.tolist()


COUNT = """
import numpy as np, pandas as pd, strategies
from strategies import indicators
random = np.random.default_rng(0)
close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, 120)))
bars = pd.DataFrame(dict(open=close, high=close * 1.01, low=close * 0.99, close=close, volume=1e6))
compiled = [indicators._kdj, indicators._deviation]
for rule in strategies.POOL.values():
    features = rule.features(bars, rule.params)
    rule.scan(features, rule.params)
    rule.step(rule.flat, features[-1], rule.with_params().params)
    compiled += [rule.scan, rule.step]
misses = sum(sum(f.stats.cache_misses.values()) for f in compiled)
hits = sum(sum(f.stats.cache_hits.values()) for f in compiled)
print(hits, misses)
"""


def test_second_process_compiles_nothing(tmp_path):
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path),
        "NUMBA_DISABLE_JIT": "0",
        "PYTHONPATH": str(ROOT),
    }
    runs = [
        subprocess.run(
            [sys.executable, "-c", COUNT], env=environment, capture_output=True, text=True
        )
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    first, second = (tuple(map(int, run.stdout.split())) for run in runs)
    functions = 2 + 2 * 11
    assert first == (0, functions)
    assert second == (functions, 0)
