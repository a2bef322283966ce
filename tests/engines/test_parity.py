"""The same targets give the same equity in backtrader and in vectorbt.

The tolerance is 1e-9 relative on every bar. Where the engines sum in another order, rounding adds
up to some 1e-12 over thousands of bars; an order that one engine drops or sizes at another price
shows as 1e-6 or more.
"""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from mmdrex.engines.backtrader import TargetStrategy, backtrader_strategy, make_cerebro
from mmdrex.engines.planning import plan
from mmdrex.engines.vectorbt import vectorbt_portfolio
from strategies import POOL

FEES, SLIPPAGE, CASH = 0.001, 0.0005, 100_000.0
TOLERANCE = 1e-9
ASSETS = ("sp500", "nasdaq", "simulated")


class BrokerValue(bt.Analyzer):
    """The broker's own value after every bar."""

    def start(self):
        self.values = {}

    def next(self):
        time = pd.Timestamp(self.strategy.datetime.datetime(0))
        self.values[time] = self.strategy.broker.getvalue()


@pytest.fixture(scope="module")
def assets(sp500, nasdaq, simulated):
    return {"sp500": sp500[:1200], "nasdaq": nasdaq[3800:], "simulated": simulated[:1200]}


def backtrader_equity(bars, strategy, **settings):
    cerebro = make_cerebro(bars, cash=CASH, fees=FEES, slippage=SLIPPAGE)
    cerebro.addstrategy(strategy, **settings)
    cerebro.addanalyzer(BrokerValue, _name="value")
    [run] = cerebro.run(stdstats=False)
    return pd.Series(run.analyzers.value.values)


def vectorbt_equity(bars, target):
    return vectorbt_portfolio(bars, target, FEES, SLIPPAGE, CASH).total.value()


def assert_same(backtrader, vectorbt):
    assert backtrader.index.equals(vectorbt.index)
    np.testing.assert_allclose(backtrader, vectorbt, rtol=TOLERANCE, atol=0)


def series(bars, target):
    return pd.Series(np.asarray(target, dtype=float), index=bars.index)


@pytest.mark.parametrize("asset", ASSETS)
@pytest.mark.parametrize("name", POOL)
def test_rule_has_the_same_equity_in_both_engines(assets, asset, name):
    bars = assets[asset]
    assert_same(
        backtrader_equity(bars, backtrader_strategy(name)),
        vectorbt_equity(bars, POOL[name].targets(bars)),
    )


@pytest.mark.parametrize("asset", ASSETS)
def test_plan_has_the_same_equity_in_both_engines(assets, asset, make_router):
    bars = assets[asset]
    target = plan(bars, make_router()).target
    assert_same(
        backtrader_equity(bars, TargetStrategy, target=target), vectorbt_equity(bars, target)
    )


@pytest.mark.parametrize("asset", ASSETS)
@pytest.mark.parametrize("every", [1, 5])
def test_targets_of_one_and_minus_one_have_the_same_equity(assets, asset, every):
    bars = assets[asset]
    drawn = np.random.default_rng(every).choice([-1.0, 0.0, 1.0], len(bars))
    target = series(bars, drawn[np.arange(len(bars)) // every])
    assert_same(
        backtrader_equity(bars, TargetStrategy, target=target), vectorbt_equity(bars, target)
    )


@pytest.mark.parametrize("asset", ASSETS)
def test_random_fractions_have_the_same_equity(assets, asset):
    bars = assets[asset]
    drawn = np.random.default_rng(3).uniform(-1, 1, len(bars))
    target = series(bars, drawn[np.arange(len(bars)) // 3])
    assert_same(
        backtrader_equity(bars, TargetStrategy, target=target), vectorbt_equity(bars, target)
    )


@pytest.mark.parametrize("name", ["ma_cross", "kdj", "atr_breakout"])
def test_portfolio_on_mixed_calendars_has_the_same_equity(assets, nasdaq, name):
    bars = {
        "sp500": assets["sp500"],
        "nasdaq": nasdaq[700:1500].drop(nasdaq.index[900:910]),
        "simulated": assets["simulated"],
    }
    targets = {s: series(frame, POOL[name].targets(frame)) for s, frame in bars.items()}
    assert_same(
        backtrader_equity(bars, TargetStrategy, target=targets), vectorbt_equity(bars, targets)
    )


def test_portfolio_of_plans_has_the_same_equity(assets, make_router):
    plans = plan(assets, make_router())
    targets = {symbol: planned.target for symbol, planned in plans.items()}
    assert_same(
        backtrader_equity(assets, TargetStrategy, target=targets),
        vectorbt_equity(assets, targets),
    )


def test_bankrupt_short_has_the_same_equity(crashing):
    backtrader = backtrader_equity(crashing, backtrader_strategy("short_only"))
    assert backtrader.min() < 0
    assert_same(backtrader, vectorbt_equity(crashing, POOL["short_only"].targets(crashing)))


def test_portfolio_with_a_bankrupt_sleeve_has_the_same_equity(crashing, simulated):
    bars = {"crashing": crashing, "simulated": simulated[:1200]}
    targets = {symbol: series(frame, -np.ones(len(frame))) for symbol, frame in bars.items()}
    backtrader = backtrader_equity(bars, TargetStrategy, target=targets)
    sleeves = vectorbt_portfolio(bars, targets, FEES, SLIPPAGE, CASH).value()
    assert sleeves["crashing"].min() < 0 < sleeves["simulated"].min()
    # A debt and a gain of the same size cancel in the sum: relative to both, not to their rest.
    gap = (backtrader - sleeves.sum(axis=1)).abs() / sleeves.abs().sum(axis=1)
    assert gap.max() < TOLERANCE


@pytest.mark.parametrize("asset", ASSETS)
def test_last_cash_smaller_than_the_rounding_of_older_sums_buys_the_same(assets, asset):
    # Between 0.999 and 1 the cash that is left is so small that what a broker's first, large sums
    # were rounded by decides whether an order is paid or rejected.
    bars = assets[asset]
    choices = [0.0, 1 / 3, 2 / 3, 0.999, 1.0]
    target = series(bars, np.random.default_rng(0).choice(choices, len(bars)))
    assert_same(
        backtrader_equity(bars, TargetStrategy, target=target), vectorbt_equity(bars, target)
    )
