"""Show what each expert's rules earned, whether or not one of them is truly the best.

    python benchmarks/rules_worth.py --data ../shared/data [--costs paper]

The mean reward of eq. 12 of every rule alone, over all non-overlapping windows of `fit`, `select`
and validation, all assets. The last column is the 95 % interval of the best rule's mean less the
second's on that split: weeks are drawn in blocks as long as a window (stationary bootstrap, seed
42). Where it holds zero, no rule is truly the best. No router has a part in this table.
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import pandas as pd

from mmdrex.data.costs import COSTS
from mmdrex.evaluation.intervals import interval
from mmdrex.training.assets import training_assets
from mmdrex.training.losses import base_reward
from mmdrex.training.oracle import build_oracle
from mmdrex.training.rl import select_rows
from mmdrex.training.trend_scores import OVERLAP
from strategies import EXPERTS, POOL

SPLITS = ("fit", "select", "validation")


def ahead(reward, week):
    """Return the interval of the mean of reward (N,) over windows, weeks drawn in blocks."""
    sums = np.zeros((int(week.max()) + 1, 2))
    np.add.at(sums, week, np.stack([reward, np.ones(len(reward))], axis=1))
    low, high = interval(
        sums, lambda rows: [rows[:, 0].sum() / max(rows[:, 1].sum(), 1.0)], block=OVERLAP, seed=42
    )
    return float(low[0]), float(high[0])


def main():
    """Print one table per split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--costs", default="paper", choices=COSTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        oracle = build_oracle(
            training_assets(options.data), POOL, COSTS[options.costs], folder=folder
        )
        reward = base_reward(*(oracle.figure(n) for n in ("excess", "sharpe", "drawdown")))
        for split in SPLITS:
            rows = select_rows(oracle, split)
            windows = np.asarray(oracle.windows)[rows].tolist()
            days = pd.DatetimeIndex([oracle.assets[oracle.symbols[a]].index[d] for a, d in windows])
            week = ((days - days.min()).days // 7).to_numpy()
            print(f"\n{split}: {len(rows)} windows, costs {options.costs}")
            for expert, rules in EXPERTS.items():
                columns = [oracle.rules.index(rule) for rule in rules]
                means = reward[np.ix_(rows, columns)].mean(axis=0)
                first, second = np.argsort(-means)[:2]
                gap = reward[rows, columns[first]] - reward[rows, columns[second]]
                low, high = ahead(gap, week)
                told = ", ".join(f"{rules[k]} {means[k]:+.3f}" for k in np.argsort(-means))
                print(f"  {expert:9} {told}; best less second {low:+.3f} to {high:+.3f}")


if __name__ == "__main__":
    main()
