"""Show what a backbone's last state holds of the regime, and how much of it rewards can teach.

    python benchmarks/probes.py [--seed 1] [--router tiny] [--shows all V T L] [--markets 100]

The markets, the windows and the fresh adapters are those of benchmarks/learning.py; no adapter is
trained. Per line what is true in a prompt: all of it, or one modality of three, the two others
from other markets. Two linear heads are fitted to the same standardised states of the training
windows and pick an expert in the test windows:

    regimes   logistic regression, told the regime at each decision bar
    rewards   ridge regression on what each expert earned above the mean of the four

`right` is the share of test windows in which the pick is the regime's expert, `earns` the pick's
gain over uniform weights as a share of the omniscient one. An expert follows here the rule that
earned most on the training windows of the regime named after it. How strongly a head is held back
is chosen on the `select` markets: by accuracy and by what the picks earn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import torch
from learning import start
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from mmdrex.data.regimes import REGIMES
from mmdrex.observation.observation import Observer
from mmdrex.router.router import ADAPTER
from mmdrex.training.known_truth import PARTS, experts_reward, known_markets, only, right_experts
from mmdrex.training.trunks import Trunks
from strategies import EXPERTS

HELD_BACK = (1e-3, 3e-3, 1e-2, 3e-2, 0.1)  # logistic regression: C
SHRUNK = (100.0, 300.0, 1000.0, 3000.0)  # ridge


def best_rules(markets):
    """Return the column of the oracle's table of each expert's rule: (K,)."""
    rows = markets.rows["train"]
    found = []
    for number, name in enumerate(REGIMES):
        columns = np.array([markets.oracle.rules.index(rule) for rule in EXPERTS[name]])
        mine = rows[markets.regime[rows] == number]
        reward = experts_reward(markets.oracle, mine, np.tile(columns, (len(mine), 1)))
        found.append(columns[reward.mean(axis=0).argmax()])
    return np.array(found)


def states(router, markets, observer, folder):
    """Return the last states (N, width) of each part's windows."""
    rows = np.concatenate([markets.rows[part] for part in PARTS])
    trunks = Trunks(router, markets.oracle, rows.tolist(), True, 0.01, folder, observer=observer)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        told = [router.states(trunks(row), (ADAPTER,))[0].float() for row in rows.tolist()]
    cuts = np.cumsum([len(markets.rows[part]) for part in PARTS])[:-1]
    return dict(zip(PARTS, np.split(torch.cat(told).numpy(), cuts), strict=True))


def probe(seen, markets, reward):
    """Return, per head, its picks (M,) in the test windows and what chose it."""
    scale = StandardScaler().fit(seen["train"])
    x = {part: scale.transform(held) for part, held in seen.items()}
    regime = {part: markets.regime[markets.rows[part]] for part in PARTS}
    right = right_experts(reward["train"], regime["train"])
    above = reward["train"] - reward["train"].mean(axis=1, keepdims=True)
    every = np.arange(len(x["select"]))
    told = [
        (strength, LogisticRegression(C=strength, max_iter=1000).fit(x["train"], regime["train"]))
        for strength in HELD_BACK
    ]
    strength, head = max(told, key=lambda one: one[1].score(x["select"], regime["select"]))
    picks = {"regimes": (right[head.predict(x["test"])], f"C {strength:g}")}
    told = [(strength, Ridge(strength).fit(x["train"], above)) for strength in SHRUNK]
    strength, head = max(
        told,
        key=lambda one: reward["select"][every, one[1].predict(x["select"]).argmax(axis=1)].mean(),
    )
    picks["rewards"] = head.predict(x["test"]).argmax(axis=1), f"ridge {strength:g}"
    return picks, right[regime["test"]]


def main():
    """Print a line per head of each prompt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--router", default="tiny", help="whose backbone: tiny or a folder")
    parser.add_argument("--shows", nargs="+", default=["all", "V", "T", "L"])
    parser.add_argument("--markets", type=int, default=100, help="to train on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", default=None, help="where image tokens are kept")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    counts = {"train": options.markets, "select": 30, "test": 60}
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(options.cache or aside)
        markets = known_markets(counts, 1500, 45, options.seed, folder)
        columns = best_rules(markets)
        reward = {
            part: experts_reward(markets.oracle, rows, np.tile(columns, (len(rows), 1)))
            for part, rows in markets.rows.items()
        }
        print(f"seed {options.seed}: " + ", ".join(f"{len(r)} {p}" for p, r in reward.items()))
        print(f"{'true':6}{'told':10}{'right':>8}{'earns':>8}")
        test = reward["test"]
        every, base = np.arange(len(test)), test.mean()
        router = start(options.router, 1)
        for shown in options.shows:
            began = time.monotonic()
            observer = Observer if shown == "all" else only(shown, markets, options.seed)
            seen = states(router, markets, observer, folder)
            picks, truth = probe(seen, markets, reward)
            best = test[every, truth].mean() - base
            for name, (pick, chosen) in picks.items():
                share = (test[every, pick].mean() - base) / best
                print(
                    f"{shown:6}{name:10}{(pick == truth).mean():8.1%}{share:8.1%}"
                    f"   {chosen}, {time.monotonic() - began:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
