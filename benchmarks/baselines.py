"""Time the seven rule baselines over every CSV file of a folder.

    python benchmarks/baselines.py --data FOLDER [--repeats 3]

Reading the files is not counted, nor is compilation: one asset is traded before the clock starts.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import packages_first  # noqa: F401  (baselines.py beside this script is not the package)

from baselines import BASELINES
from mmdrex.data.bars import load_bars
from mmdrex.errors import BarsError

RULES = ("buy_and_hold", "macd", "kdj_rsi", "cr", "bbi", "wr", "bias")
GOAL = 5.0


def load(folder):
    """Return the bars of every CSV file that holds some."""
    frames = []
    for path in sorted(folder.rglob("*.csv")):
        try:
            frames.append(load_bars(path))
        except BarsError as error:
            print(f"left out: {error}")
    return frames


def seconds(name, frames):
    """Return the seconds that the targets of all assets take."""
    baseline = BASELINES[name]()
    baseline.targets(frames[0])
    start = time.perf_counter()
    for bars in frames:
        baseline.targets(bars)
    return time.perf_counter() - start


def main():
    """Print one line per rule and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    frames = load(arguments.data)
    bars = sum(map(len, frames))
    print(f"{len(frames)} assets, {bars} bars, median of {arguments.repeats} runs")
    total = 0.0
    for name in RULES:
        took = median(seconds(name, frames) for _ in range(arguments.repeats))
        total += took
        print(f"{name:14}{1e3 * took:9.1f} ms")
    verdict = "within" if total <= GOAL else "ABOVE"
    print(f"{'all':14}{1e3 * total:9.1f} ms: {verdict} {GOAL:g} s")


if __name__ == "__main__":
    main()
