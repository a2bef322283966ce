"""Trade every asset in backtrader and in vectorbt and print the largest gap of their equity.

    python benchmarks/parity.py --data FOLDER [--router tiny] [--fees 0.001] [--slippage 0.0005]

FOLDER is searched for CSV files of daily bars, subfolders included. The 11 rules are traded on
each asset, and MM-DREX; without --router its decisions are drawn at random, which asks the same of
the engines. Last comes one portfolio of all assets, MM-DREX on each. A gap is relative to the
equity of the bar, bankrupt accounts included; the portfolio's, to the sum of its sleeves' sizes.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import backtrader as bt
import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import pandas as pd
from tqdm.auto import tqdm

from mmdrex.data.bars import load_bars
from mmdrex.engines.backtrader import TargetStrategy, make_cerebro
from mmdrex.engines.planning import plan
from mmdrex.engines.vectorbt import vectorbt_portfolio
from mmdrex.errors import BarsError
from mmdrex.router.decision import Decision
from strategies import EXPERTS, POOL

GOAL = 1e-9
CASH = 100_000.0


class RandomRouter:
    """Draws weights and rules, seeded by symbol and time."""

    def decide(self, observations):
        """Return one decision per observation."""
        return [self._decision(observation) for observation in observations]

    def _decision(self, observation):
        key = f"{observation.symbol} {observation.time.isoformat()}".encode()
        random = np.random.default_rng(zlib.crc32(key))
        return Decision(
            symbol=observation.symbol,
            time=observation.time,
            weights=random.dirichlet(np.ones(len(EXPERTS))),
            rules={expert: names[random.integers(len(names))] for expert, names in EXPERTS.items()},
            probabilities={},
            values={},
            observation=observation.digest,
            model="random",
        )


class BrokerValue(bt.Analyzer):
    """The broker's own value after every bar."""

    def start(self):
        """Begin with nothing."""
        self.values = {}

    def next(self):
        """Note the value."""
        self.values[pd.Timestamp(self.strategy.datetime.datetime(0))] = (
            self.strategy.broker.getvalue()
        )


def in_backtrader(bars, target, fees, slippage):
    """Return the broker's equity per bar."""
    cerebro = make_cerebro(bars, cash=CASH, fees=fees, slippage=slippage)
    cerebro.addstrategy(TargetStrategy, target=target)
    cerebro.addanalyzer(BrokerValue, _name="value")
    [run] = cerebro.run(stdstats=False)
    return pd.Series(run.analyzers.value.values)


def gap(bars, target, fees, slippage):
    """Return the largest relative gap of the two equity curves and the lowest equity."""
    backtrader = in_backtrader(bars, target, fees, slippage)
    sleeves = vectorbt_portfolio(bars, target, fees, slippage, CASH).value()
    sleeves = sleeves.to_frame() if isinstance(sleeves, pd.Series) else sleeves
    if not backtrader.index.equals(sleeves.index):
        return np.inf, np.nan
    apart = (backtrader - sleeves.sum(axis=1)).abs() / sleeves.abs().sum(axis=1)
    return float(apart.max()), float(sleeves.to_numpy().min())


def load(folder):
    """Return the bars of every CSV file by symbol."""
    frames = {}
    for path in sorted(folder.rglob("*.csv")):
        try:
            frames[str(path.relative_to(folder).with_suffix(""))] = load_bars(path)
        except BarsError as error:
            print(f"left out: {error}")
    return frames


def main():
    """Print one line per asset, one per rule, one for a portfolio of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--router")
    parser.add_argument("--fees", type=float, default=0.001)
    parser.add_argument("--slippage", type=float, default=0.0005)
    arguments = parser.parse_args()
    costs = arguments.fees, arguments.slippage
    frames = load(arguments.data)
    router = arguments.router or RandomRouter()
    long_enough = {symbol: bars for symbol, bars in frames.items() if len(bars) >= 199 + 90}
    plans = plan(long_enough, router, progress=False)
    lines = []
    for symbol, bars in tqdm(frames.items(), "assets"):
        targets = {name: rule.targets(bars) for name, rule in POOL.items()}
        if symbol in plans:
            targets["MM-DREX"] = plans[symbol].target
        for name, target in targets.items():
            apart, lowest = gap(bars, pd.Series(target, index=bars.index), *costs)
            lines.append((symbol, len(bars), name, apart, lowest))
    table = pd.DataFrame(lines, columns=["asset", "bars", "row", "gap", "lowest"])
    print(f"fees {costs[0]:.3%}, slippage {costs[1]:.3%}; largest relative gap over all bars\n")
    print(f"{'asset':34} {'bars':>6} {'gap':>9}  at              bankrupt")
    for symbol, group in table.groupby("asset", sort=False):
        worst = group.loc[group["gap"].idxmax()]
        bankrupt = ", ".join(group.loc[group["lowest"] <= 0, "row"])
        print(f"{symbol:34} {worst.bars:6d} {worst.gap:9.1e}  {worst.row:15} {bankrupt}")
    print()
    for name, group in table.groupby("row", sort=False):
        worst = group.loc[group["gap"].idxmax()]
        print(f"{name:34} {'':6} {worst.gap:9.1e}  {worst.asset}")
    together = {symbol: plans[symbol].target for symbol in long_enough}
    apart, _ = gap(long_enough, together, *costs)
    print(f"\nportfolio of {len(together)} assets, MM-DREX {apart:.1e}")
    largest = max(apart, float(table["gap"].max()))
    print(f"largest gap {largest:.1e}: {'within' if largest <= GOAL else 'ABOVE'} {GOAL:.0e}")


if __name__ == "__main__":
    main()
