"""Time the 11 rules against the same rules written for backtrader; both must give the same targets.

    python benchmarks/rules.py [--bars 2000] [--repeats 5]

Ours counts features and scan over all bars, warm. backtrader's counts ``cerebro.run()``. Every
figure is a median over the repeats on one machine; the ratio is what to read.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import backtrader as bt
import numpy as np
import pandas as pd
from backtrader_rules import STRATEGIES

from strategies import POOL

GOAL = 500


def random_walk(bars: int, seed: int) -> pd.DataFrame:
    """Return simulated daily bars: a random walk with 1.5 % a day and noisy volume."""
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.015, bars)))
    before = np.r_[100.0, close[:-1]]
    open_ = before * np.exp(random.normal(0.0, 0.003, bars))
    high = np.maximum(open_, close) * np.exp(np.abs(random.normal(0.0, 0.005, bars)))
    low = np.minimum(open_, close) * np.exp(-np.abs(random.normal(0.0, 0.005, bars)))
    volume = np.round(1e6 * np.exp(random.normal(0.0, 0.5, bars)))
    index = pd.bdate_range("2000-01-03", periods=bars)
    columns = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    return pd.DataFrame(columns, index)


def in_backtrader(name: str, bars: pd.DataFrame) -> tuple[np.ndarray, float]:
    """Return the targets of the rule in backtrader, shape (T,), and the seconds of the run."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=bars))
    cerebro.addstrategy(STRATEGIES[name])
    start = time.perf_counter()
    strategy = cerebro.run()[0]
    return np.array(strategy.targets), time.perf_counter() - start


def timed(name: str, bars: pd.DataFrame) -> tuple[np.ndarray, float]:
    """Return our targets of the rule, shape (T,), and the seconds they took."""
    start = time.perf_counter()
    target = POOL[name].targets(bars)
    return target, time.perf_counter() - start


def main() -> None:
    """Print one line per rule and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=42)
    settings = parser.parse_args()
    bars = random_walk(settings.bars, settings.seed)
    print(f"{settings.bars} bars, median of {settings.repeats} runs, seed {settings.seed}")
    print(f"{'rule':<16}{'changes':>8}{'backtrader ms':>15}{'ours ms':>10}{'ratio':>9}")
    theirs, ours = [], []
    for name in POOL:
        timed(name, bars)  # compiles, or loads numba's cache
        fast = [timed(name, bars) for _ in range(20 * settings.repeats)]
        slow = [in_backtrader(name, bars) for _ in range(settings.repeats)]
        target = fast[0][0]
        np.testing.assert_allclose(slow[0][0], target, rtol=0, atol=1e-9, err_msg=name)
        theirs.append(median(seconds for _, seconds in slow))
        ours.append(median(seconds for _, seconds in fast))
        report(name, int(np.sum(np.diff(target) != 0)), theirs[-1], ours[-1])
    report("all", 0, sum(theirs), sum(ours))
    verdict = "reached" if sum(theirs) >= GOAL * sum(ours) else "missed"
    print(f"same targets on every bar; goal of {GOAL} {verdict}")


def report(name: str, changes: int, theirs: float, ours: float) -> None:
    """Print one line of the table."""
    figures = f"{1e3 * theirs:>15.1f}{1e3 * ours:>10.3f}{theirs / ours:>9.0f}"
    print(f"{name:<16}{changes or '':>8}{figures}")


if __name__ == "__main__":
    main()
