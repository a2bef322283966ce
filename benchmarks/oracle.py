"""Build the reward oracle of a folder of prices, stage by stage, and compare it with backtrader.

    python benchmarks/oracle.py --data FOLDER [--sample 24] [--fees 0] [--slippage 0]

The table holds all 11 rules in every window of 90 bars whose start a stride of 16 reaches. Every
compiler cache is warm: a first, untimed table of one asset is built before. A sample of its windows
is traded bar by bar in backtrader: its time per window against the oracle's, and the largest gap of
the total returns. The machine's load stands beside wall times; CPU times do not depend on it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import pandas as pd

from mmdrex.data.costs import Costs
from mmdrex.engines.backtrader import TargetStrategy, make_cerebro
from mmdrex.training import oracle as oracles
from mmdrex.training import oracle_table, windows
from mmdrex.training.assets import load_folder
from strategies import POOL

GOAL_SECONDS, GOAL_FASTER, GOAL_GAP = 20.0, 1000.0, 1e-9


class Stages:
    """Wall and CPU seconds per stage."""

    def __init__(self):
        self.wall, self.cpu = defaultdict(float), defaultdict(float)

    @contextmanager
    def __call__(self, name):
        """Time a block."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[name] += time.perf_counter() - wall
        self.cpu[name] += time.process_time() - cpu

    def timed(self, name, function):
        """Return the function, timed."""

        def run(*args, **kwargs):
            with self(name):
                return function(*args, **kwargs)

        return run


def in_backtrader(bars, start, rule, costs):
    """Return the total return of one rule in one window, and its CPU seconds."""
    raw = rule.scan(rule.features(bars, rule.params)[start : start + 90], rule.params)
    window = bars.iloc[start : start + 91]
    target = pd.Series(np.append(raw, raw[-1]), window.index)
    began = time.process_time()
    cerebro = make_cerebro(window, cash=windows.CASH, fees=costs.fees, slippage=costs.slippage)
    cerebro.addstrategy(TargetStrategy, target=target)
    cerebro.run(stdstats=False)
    return cerebro.broker.getvalue() / windows.CASH - 1.0, time.process_time() - began


def main():
    """Print the stage table and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--sample", type=int, default=24)
    parser.add_argument("--fees", type=float, default=0.0)
    parser.add_argument("--slippage", type=float, default=0.0)
    options = parser.parse_args()
    costs, stages = Costs(options.fees, options.slippage), Stages()
    with stages("load prices (not part of the table)"):
        assets = load_folder(options.data)
    with tempfile.TemporaryDirectory() as folder:
        first = next(name for name, bars in assets.items() if len(bars) > 1000)
        oracles.build_oracle({first: assets[first]}, POOL, costs, folder=folder)

        whole = Stages()
        simulate, guard = windows.equity_of, windows.guard_windows
        windows.equity_of = stages.timed("simulate in vectorbt", simulate)
        windows.guard_windows = stages.timed("equity guard", guard)
        windows.RuleTargets.__call__ = stages.timed(
            "features and targets of the rules", windows.RuleTargets.__call__
        )
        oracle_table.outcomes = stages.timed("guard, simulation and figures", oracle_table.outcomes)
        oracle_table._checksum = stages.timed("checksums, written and read", oracle_table._checksum)
        oracles.oracle_digest = stages.timed("digest of bars and rules", oracles.oracle_digest)
        with whole("table"):
            table = oracles.build_oracle(assets, POOL, costs, folder=folder)
        inner = (
            stages.wall.pop("guard, simulation and figures"),
            stages.cpu.pop("guard, simulation and figures"),
        )
        parts = ("simulate in vectorbt", "equity guard")
        stages.wall["figures"] = inner[0] - sum(stages.wall[name] for name in parts)
        stages.cpu["figures"] = inner[1] - sum(stages.cpu[name] for name in parts)
        print(f"{'stage':40}{'wall s':>10}{'CPU s':>10}")
        for name in stages.wall:
            print(f"{name:40}{stages.wall[name]:10.2f}{stages.cpu[name]:10.2f}")
        print(f"{'the whole table':40}{whole.wall['table']:10.2f}{whole.cpu['table']:10.2f}")
        columns = len(table.windows) * len(table.rules)
        load = os.getloadavg()[0]
        print(
            f"\n{len(assets)} assets, {len(table.windows)} windows x {len(table.rules)} rules = "
            f"{columns} simulations of 90 bars; load average {load:.1f}; goal {GOAL_SECONDS:.0f} s"
        )
        rng = np.random.default_rng(42)
        gap, seconds = 0.0, 0.0
        for row in rng.choice(len(table.windows), options.sample, replace=False):
            asset, start = table.windows[row]
            column = int(rng.integers(len(table.rules)))
            bars, rule = assets[table.symbols[asset]], POOL[table.rules[column]]
            total, spent = in_backtrader(bars, int(start), rule, costs)
            seconds += spent
            gap = max(gap, abs(total - table.figure("total")[row, column]))
        ours, theirs = stages.cpu["simulate in vectorbt"] / columns, seconds / options.sample
        print(
            f"CPU per window: backtrader {1e3 * theirs:.2f} ms, oracle {1e6 * ours:.1f} us: "
            f"{theirs / ours:.0f} times faster (goal {GOAL_FASTER:.0f})\n"
            f"largest gap of the total return on {options.sample} windows: {gap:.1e} "
            f"(goal {GOAL_GAP:.0e})"
        )


if __name__ == "__main__":
    main()
