"""Show that a router learns where the truth is known, and that it reads every modality.

    python benchmarks/learning.py [--seeds 1 2 3 4 5] [--updates 16 80] [--markets 100] [--layers 1]
        [--sees VTL] [--modalities VTL] [--cache DIR]

Markets switch among the four regimes of `mmdrex.data.regimes` (parameters and their evidence:
benchmarks/regimes.py). For each seed a router starts from the embedded `tiny` with fresh adapters,
is trained by `train_rl` on its own markets, its checkpoint and its sharpness are chosen on others,
and it is scored on markets that nobody has seen, in windows that do not overlap, beside

    omniscient   told the regime at the decision bar: all capital to the expert that earned most in
                 it on the training markets
    trees        LightGBM tells the regime from the same 17 x 100 numbers of the same windows, then
                 as above
    uniform, random (flat Dirichlet), best expert (on the training markets, always the same)

All trade the trained experts' own choices. A gain is what is earned over uniform weights: reward of
eq. 12 of the exact blend, which training maximises; total return beside it. Zero costs. Standard
errors are those of the paired difference over windows.

For the modalities a router is trained and tested once for each of V, T and L with the two others
drawn from other markets: no router could know which of three tells the truth unless it is trained
so. Its arg-max expert's accuracy is held against that of the router that sees all three.

Markets of seed s: 100000 + 1000 s on to train, 200000 + 1000 s to choose, 300000 + 1000 s to score.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import torch
from lightgbm import LGBMClassifier

from mmdrex.data.regimes import REGIMES
from mmdrex.observation.observation import Observer
from mmdrex.router.router import Router
from mmdrex.router.storage import renewed
from mmdrex.training.fusing import can_fuse
from mmdrex.training.known_truth import (
    earned,
    known_markets,
    only,
    references,
    series_of,
    told_by,
)
from mmdrex.training.rl import train_rl
from mmdrex.training.rl_config import rl_config
from strategies import EXPERTS

OF_OMNISCIENT, OF_TREES, OF_ALL_THREE, STANDARD_ERRORS = 0.75, 0.95, 0.90, 2.0
# Found on the markets of seeds 99 and 0. Seeds 1 to 5 were scored under other settings as well.
SETTINGS = {
    "lr_scheduler_type": "linear",
    "router_epochs": 2,
    "draws": 16,
    "c3": 0.005,
    "ppo_epochs": 2,
    "anonymous": True,
    "windows_at_once": 16,
    "save_steps": 10,
    "logging_steps": 10,
    "max_episodes": 100_000,
    "fuse": can_fuse(),
}
# A router that learns beside experts who know nothing yet puts all on whoever loses least, and the
# softmax leaves that corner slowly: the experts go first, then the router, in larger batches.
PHASES = {
    "experts": {"train_router": False, "learning_rate": 1e-3},
    "router": {
        "train_experts": False,
        "sharpness": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 64,
    },
}
TREES = {
    "n_estimators": 100,
    "learning_rate": 0.1,
    "max_bin": 63,
    "colsample_bytree": 0.1,
    "min_child_samples": 20,
    "n_jobs": 1,
    "verbose": -1,
}


def start(name, layers):
    """Return a tiny with fresh adapters on its last layers, the same for every seed."""
    router = Router.from_pretrained(name, cache=False)
    router.config.lora_layers = layers
    made = renewed(router)
    made.batch = 16
    made.config.trained = {}  # fresh adapters and heads have seen no outcome
    return made


def train(markets, seed, options, folder, modality=None):
    """Return what a router says after training, and the seconds that took."""
    router = start(options.router, options.layers)
    fit = np.isin(np.arange(len(markets.regime)), markets.rows["train"])
    began = time.monotonic()
    observer = Observer if modality is None else only(modality, markets, seed)
    for own, updates in zip(PHASES.values(), options.updates, strict=True):
        with tempfile.TemporaryDirectory() as run:
            config = rl_config(
                run,
                max_steps=updates,
                seed=seed,
                modalities=options.sees,
                cache_folder=str(folder),
                report_to="none",
                **{**SETTINGS, **own},
            )
            router.requires_grad_(False)
            train_rl(
                *(router, markets.oracle, fit, markets.rows["select"], config, options.progress),
                observer=observer,
            )
    factor = router.config.training["stage 2"].get("logits multiplied by", 1.0)
    print(f"logits multiplied by {factor:g}, as chosen on select", flush=True)
    return told_by(router, markets, config, observer), time.monotonic() - began


def guesses(markets):
    """Return the regime that boosted trees tell in each test window."""
    rows = markets.rows["train"]
    trees = LGBMClassifier(**TREES, random_state=0)
    trees.fit(series_of(markets, rows), markets.regime[rows])
    return trees.predict(series_of(markets, markets.rows["test"]))


def table(markets, told, seed):
    """Print one seed's table and return which goals it misses, and the router's accuracy."""
    weights = references(markets, told, guesses(markets), seed)
    test = markets.rows["test"]
    regime = markets.regime[test]
    right = weights["omniscient"].argmax(axis=1)
    rows = {
        name: earned(markets.oracle, test, share, told.columns) for name, share in weights.items()
    }
    base = rows["uniform"]
    print(f"{'':12}{'reward':>9}{'gain':>9}{'s.e.':>8}{'return':>9}{'right expert':>14}")
    gains = {}
    for name, row in rows.items():
        gain = row.reward - base.reward
        gains[name] = float(gain.mean())
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        hits = (weights[name].argmax(axis=1) == right).mean()
        hit = "" if name in ("uniform", "random") else f"{hits:14.1%}"
        print(
            f"{name:12}{row.reward.mean():9.3f}{gains[name]:9.3f}{error:8.3f}"
            f"{row.total.mean():9.2%}{hit}"
        )
    missed = []
    for number in np.unique(regime).tolist():
        name = list(REGIMES)[number]
        gain = (rows["omniscient"].reward - base.reward)[regime == number]
        t = gain.mean() / (gain.std(ddof=1) / np.sqrt(len(gain)))
        ours = (rows["router"].reward - base.reward)[regime == number].mean()
        print(
            f"  {name:10}{len(gain):4} windows: omniscient {gain.mean():+.3f} ({t:.1f} s.e.), "
            f"router {ours:+.3f}; right: {list(EXPERTS)[right[regime == number][0]]}"
        )
        if t < STANDARD_ERRORS:
            missed.append(f"omniscient in {name}")
    shares = gains["router"] / gains["omniscient"], gains["router"] / gains["trees"]
    print(
        f"router / omniscient {shares[0]:.1%} (goal {OF_OMNISCIENT:.0%}), router / trees "
        f"{shares[1]:.1%} (goal {OF_TREES:.0%}), trees / omniscient "
        f"{gains['trees'] / gains['omniscient']:.1%}"
    )
    if shares[0] < OF_OMNISCIENT:
        missed.append("share of the omniscient gain")
    if shares[1] < OF_TREES:
        missed.append("share of the trees' gain")
    missed += [
        f"more than {name}"
        for name in ("uniform", "best expert", "random")
        if gains["router"] <= gains[name]
    ]
    return missed, accuracy(markets, told)


def accuracy(markets, told):
    """Return in what share of test windows the arg-max expert is that of the regime."""
    right = references(markets, told)["omniscient"].argmax(axis=1)
    return float((told.weights.argmax(axis=1) == right).mean())


def study_modalities(markets, all_three, options, folder, seed):
    """Print how often the arg-max expert is right with one true modality; return what is missed."""
    missed = []
    print(f"arg-max expert right with all three: {all_three:.1%}")
    for modality in options.modalities:
        told, seconds = train(markets, seed, options, folder, modality)
        hits = accuracy(markets, told)
        print(
            f"  only {modality} true: {hits:.1%}, {hits / all_three:.1%} of all three (goal "
            f"{OF_ALL_THREE:.0%}); {seconds:.0f} s",
            flush=True,
        )
        if hits < OF_ALL_THREE * all_three:
            missed.append(f"modality {modality}")
    return missed


def main():
    """Print a table per seed, the modalities, and which goals are reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--updates", type=int, nargs=2, default=(16, 80), help="of both phases")
    parser.add_argument("--markets", type=int, default=100, help="to train on")
    parser.add_argument("--tested", type=int, default=60, help="markets to score; half to choose")
    parser.add_argument("--bars", type=int, default=1500)
    parser.add_argument("--stride", type=int, default=45)
    parser.add_argument("--router", default="tiny", help="whose backbone: tiny or a folder")
    parser.add_argument("--layers", type=int, default=1, help="of tiny's 6 that carry adapters")
    parser.add_argument("--sees", default="VTL", help="an ablation: T takes a tenth of the time")
    parser.add_argument("--modalities", default="VTL", help="to study, on the first seed; '' none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", default=None, help="where image tokens and runs are kept")
    parser.add_argument("--progress", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.basicConfig(level=logging.WARNING)
    counts = {
        "train": options.markets,
        "select": max(2, options.tested // 2),
        "test": options.tested,
    }
    failed = {}
    with contextlib.ExitStack() as stack:
        folder = Path(options.cache or stack.enter_context(tempfile.TemporaryDirectory()))
        for place, seed in enumerate(options.seeds):
            began = time.monotonic()
            markets = known_markets(counts, options.bars, options.stride, seed, folder)
            sizes = ", ".join(f"{len(rows)} {part}" for part, rows in markets.rows.items())
            updates = " + ".join(map(str, options.updates))
            print(f"\nseed {seed}: windows {sizes}; {updates} updates", flush=True)
            told, seconds = train(markets, seed, options, folder)
            missed, all_three = table(markets, told, seed)
            print(f"{seconds:.0f} s to train, {time.monotonic() - began:.0f} s in all", flush=True)
            if place == 0 and options.modalities:
                missed += study_modalities(markets, all_three, options, folder, seed)
            if missed:
                failed[seed] = missed
    for seed, missed in failed.items():
        print(f"seed {seed} NOT reached: {', '.join(missed)}")
    if not failed:
        print("all goals reached in every seed")


if __name__ == "__main__":
    main()
