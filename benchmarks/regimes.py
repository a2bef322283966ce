"""Show that the markets of `mmdrex.data.regimes` are plausible and that their regimes matter.

    python benchmarks/regimes.py [--data ../shared/data] [--markets 24] [--bars 1500]

No router takes part. Three things are held against their goals:

1. deviation and first autocorrelation of daily log returns lie between the 5 % and 95 % quantiles
   of real assets (training split only), in markets that switch and in those of one regime;
2. regimes last 500 bars in the mean;
3. a router told the regime at the decision bar beats uniform weights by two standard errors in each
   regime. Each expert trades the rule that earned most in that regime on the training markets, and
   the omniscient router gives all capital to the expert that did; both are scored on other markets.

"Earns" is the reward of eq. 12 of the exact blend, total return in brackets. Zero costs. Seeds of
markets: 40000 on to choose, 50000 on to score, 60000 on for lengths.
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import pandas as pd

from mmdrex.data.bars import periods_per_year
from mmdrex.data.regimes import REGIMES, regime_bars
from mmdrex.data.splits import split_range
from mmdrex.data.windows import WINDOW
from mmdrex.training.assets import load_folder
from mmdrex.training.losses import base_reward
from mmdrex.training.oracle import build_oracle
from strategies import EXPERTS

CHOOSE, SCORE, LENGTHS = 40_000, 50_000, 60_000
MINIMUM = 500  # bars of a real asset that counts
MEAN_STAY = 500.0


def figures(bars):
    """Return deviation and first autocorrelation of daily log returns."""
    returns = np.log(bars["close"]).diff().dropna()
    return float(returns.std()), float(returns.autocorr(1))


def real_ranges(folder):
    """Return the 5 % and 95 % quantiles of both figures over real assets, training split only."""
    rows = []
    for bars in load_folder(folder).values():
        index = pd.DatetimeIndex(bars.index)
        last = split_range("train", periods_per_year(index) == 365)[1]
        known = bars[index <= last]
        if len(known) > MINIMUM:
            rows.append(figures(known))
    return np.quantile(rows, [0.05, 0.95], axis=0), len(rows)


def markets(first, count, bars, regimes=tuple(REGIMES)):
    """Return bars by symbol."""
    made = (regime_bars(first + i, bars, regimes=regimes)[0] for i in range(count))
    return {frame.attrs["symbol"]: frame for frame in made}


def simulate(assets, folder):
    """Return the oracle of windows that do not overlap, and the reward of every rule, (N, R)."""
    oracle = build_oracle(assets, stride=WINDOW, folder=folder)
    parts = (oracle.figure(name) for name in ("excess", "sharpe", "drawdown"))
    return oracle, base_reward(*parts)


def omniscience(name, count, bars, folder):
    """Print what the omniscient router earns over uniform weights in one regime; return the t."""
    oracle, reward = simulate(markets(CHOOSE, count, bars, (name,)), folder)
    mean = reward.mean(axis=0)
    columns = np.array(
        [
            max((oracle.rules.index(r) for r in rules), key=mean.__getitem__)
            for rules in EXPERTS.values()
        ]
    )
    best = int(mean[columns].argmax())
    oracle, _ = simulate(markets(SCORE, count, bars, (name,)), folder)
    rows = np.arange(len(oracle.windows))
    chosen = np.tile(columns, (len(rows), 1))
    earned = []
    for weights in (np.eye(len(EXPERTS))[best], np.full(len(EXPERTS), 1 / len(EXPERTS))):
        blend = oracle.blend(rows, np.tile(weights, (len(rows), 1)), chosen)
        earned.append((base_reward(blend.excess, blend.sharpe, blend.drawdown), blend.total))
    gain = earned[0][0] - earned[1][0]
    score = gain.mean() / (gain.std(ddof=1) / np.sqrt(len(gain)))
    told = " ".join(
        f"{expert} {oracle.rules[c]} {mean[c]:+.2f}"
        for expert, c in zip(EXPERTS, columns, strict=True)
    )
    print(
        f"  {name:9} omniscient {earned[0][0].mean():+.3f} ({earned[0][1].mean():+.1%}), uniform "
        f"{earned[1][0].mean():+.3f} ({earned[1][1].mean():+.1%}): {score:.1f} standard errors, "
        f"{len(gain)} windows\n            {told}"
    )
    return score if list(EXPERTS)[best] == name else 0.0


def main():
    """Print all three and whether they hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=None, help="folder of real prices for the first goal")
    parser.add_argument("--markets", type=int, default=24)
    parser.add_argument("--bars", type=int, default=1500)
    options = parser.parse_args()
    failed = []

    print(f"{options.markets} markets of {options.bars} bars each")
    limits, count = (None, 0) if options.data is None else real_ranges(options.data)
    if limits is not None:
        print(
            f"real assets ({count}, training split), 5 % to 95 %: deviation {limits[0, 0]:.4f} to "
            f"{limits[1, 0]:.4f}, autocorrelation {limits[0, 1]:+.3f} to {limits[1, 1]:+.3f}"
        )
    for name, regimes in (("switching", tuple(REGIMES)), *((name, (name,)) for name in REGIMES)):
        assets = markets(CHOOSE, options.markets, options.bars, regimes)
        rows = np.array([figures(bars) for bars in assets.values()])
        low, middle, high = np.quantile(rows, [0.0, 0.5, 1.0], axis=0)
        line = (
            f"  {name:9} deviation {low[0]:.4f} {middle[0]:.4f} {high[0]:.4f}, autocorrelation "
            f"{low[1]:+.3f} {middle[1]:+.3f} {high[1]:+.3f} (lowest, median, highest)"
        )
        if limits is not None:
            inside = ((rows >= limits[0]) & (rows <= limits[1])).mean(axis=0)
            line += f"; inside {inside[0]:.0%}, {inside[1]:.0%}"
            if not ((middle >= limits[0]) & (middle <= limits[1])).all():
                failed.append(f"{name} is unlike real assets")
        print(line)

    path = np.concatenate([regime_bars(LENGTHS + i, 50_000)[1].to_numpy() for i in range(4)])
    stay = len(path) / (1 + int((path[1:] != path[:-1]).sum()))
    # About 400 stays, geometric: a standard error of a twentieth.
    if abs(stay - MEAN_STAY) > 2 * MEAN_STAY / 20:
        failed.append("mean stay")
    print(f"mean stay {stay:.0f} bars (set: {MEAN_STAY:.0f})\nreward of eq. 12 (total return)")

    with tempfile.TemporaryDirectory() as folder:
        for name in REGIMES:
            if omniscience(name, options.markets, options.bars, folder) < 2.0:
                failed.append(f"the omniscient router in {name}")
    print("all goals reached" if not failed else f"NOT reached: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
