"""Trade the validation split, net of costs, against what a router has to beat; one table a class.

    python benchmarks/validation.py --data ../shared/data [--router tiny] [--router runs/rl]

Every router given is a row (several seeds, say); uniform, random and best-expert-only keep the
first router's rules and replace its weights. Traded is what lies in the folders of the classes, not
what lies below `extra`: today's large companies, on which a backtest is biased upward. The best
expert of a class is the one that grew most on `select`, the last year of training. Sleeves are
equal at the start and never rebalanced; intervals are 95 % of a stationary bootstrap, seed 42; the
test split is cut off before anything is read. A second table gives the entropy of each expert's
choices, in nats.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import pandas as pd

from mmdrex.data.costs import COSTS
from mmdrex.data.splits import asset_class, split_range
from mmdrex.engines.comparison import compare
from mmdrex.engines.guard import simulate
from mmdrex.engines.planning import plan
from mmdrex.router.router import Router
from mmdrex.training.assets import load_folder

CLASSES = ("us_stocks", "a_shares", "etfs", "crypto", "futures", "indices")
RANDOM_SEEDS = (42, 43, 44, 45, 46)
WARM_UP = 400  # bars before a split that indicators and look-back may read


def assets_of(data, name):
    """Return the bars of a class without its test split."""
    frames = load_folder(data / name) if (data / name).is_dir() else {}
    last = {
        symbol: split_range("validation", is_crypto(bars))[1] for symbol, bars in frames.items()
    }
    if not frames:
        raise SystemExit(f"no prices in {data / name}; a folder for each of {', '.join(CLASSES)}")
    return {symbol: bars.loc[: last[symbol]] for symbol, bars in frames.items()}


def is_crypto(bars):
    """Return whether bars follow the splits of crypto."""
    return asset_class(bars.index) == "crypto"


def traded_in(frames, split):
    """Return the split's first day, and its bars with enough history; others are left out."""
    first, last = split_range(split, is_crypto(next(iter(frames.values()))))
    kept = {}
    for symbol, bars in frames.items():
        start, stop = bars.index.searchsorted(first), bars.index.searchsorted(last, side="right")
        if start >= WARM_UP and stop - start > 1:
            kept[symbol] = bars.iloc[start - WARM_UP : stop]
    return first, kept


def one_hot(expert, count):
    """Return weights that give everything to one expert."""
    return lambda observation: np.eye(count)[expert]


def best_expert(router, frames, costs):
    """Return the number of the expert that grew most on `select`."""
    first, bars = traded_in(frames, "select")
    growth = []
    for expert in range(len(router.rules)):
        weights = one_hot(expert, len(router.rules))
        plans = plan(bars, router, start=first, weights=weights)
        sleeves = [
            simulate(bars[symbol], one.target, costs.fees, costs.slippage, 1.0)[-1]
            for symbol, one in plans.items()
        ]
        growth.append(float(np.mean(sleeves)))
    return int(np.argmax(growth))


def rows_of(routers, frames, costs):
    """Return the bars traded and every row's plans or targets."""
    first, bars = traded_in(frames, "validation")
    router = next(iter(routers.values()))
    best = best_expert(router, frames, costs)
    count = len(router.rules)
    rows = {name: plan(bars, one, start=first) for name, one in routers.items()}
    rows["uniform"] = plan(bars, router, start=first, weights="uniform")
    name = f"best expert ({list(router.rules)[best]})"
    rows[name] = plan(bars, router, start=first, weights=one_hot(best, count))
    for seed in RANDOM_SEEDS:
        rows[f"random {seed}"] = plan(bars, router, start=first, weights="random", seed=seed)
    rows["buy and hold"] = {symbol: np.ones(len(frame)) for symbol, frame in bars.items()}
    return first, bars, rows


def entropies(decisions):
    """Return the entropy of each expert's choices and its most frequent rule."""
    told = {}
    for expert in decisions[0].rules:
        counts = Counter(one.rules[expert] for one in decisions)
        share = np.array(list(counts.values())) / len(decisions)
        told[expert] = (abs(float((share * np.log(share)).sum())), counts.most_common(1)[0][0])
    return told


def measure(data, routers, classes):
    """Print one table a class and return them as JSON types, with the entropy of the choices."""
    decisions, figures = {name: [] for name in routers}, {}
    columns = ["TR", "Sharpe", "Sharpe low", "Sharpe high", "MDD", "turnover", "exposure", "split"]
    for kind in classes:
        frames, costs = assets_of(data, kind), COSTS[kind]
        first, bars, rows = rows_of(routers, frames, costs)
        table = compare(rows, bars, costs.fees, costs.slippage, start=first)
        print(
            f"\n{kind}: {len(bars)} assets from {first:%Y-%m-%d}, fees {costs.fees:.3%}, "
            f"slippage {costs.slippage:.3%}"
        )
        print(table[columns].to_string(float_format="{:.3f}".format), flush=True)
        figures[kind] = table[columns].to_dict(orient="index")
        for name in routers:
            decisions[name] += [d for one in rows[name].values() for d in one.decisions]
    told = {name: entropies(made) for name, made in decisions.items()}
    return {"classes": figures, "entropy": told}


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--router", action="append")
    parser.add_argument("--classes", nargs="*", default=CLASSES)
    parser.add_argument("--json", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    names = options.router or ["tiny"]
    routers = {f"mmdrex {name}": Router.from_pretrained(name) for name in names}
    told = measure(options.data, routers, options.classes)
    if options.json:
        options.json.write_text(json.dumps(told, indent=1))
    print("\nentropy of the experts' choices over all validation windows, nats (goal > 0.3)")
    table = pd.DataFrame(
        {
            name: {expert: f"{entropy:.3f} ({rule})" for expert, (entropy, rule) in one.items()}
            for name, one in told["entropy"].items()
        }
    )
    print(table.T.to_string())


if __name__ == "__main__":
    main()
