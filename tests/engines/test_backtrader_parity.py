"""backtrader under ``make_cerebro`` against the guard's own simulation, a third road to equity.

1e-9 relative is what ENGINES.md asks of the engines; both sum the same float64 trades in another
order, so that the gap stays near 1e-14.
"""

import numpy as np
import pandas as pd
import pytest

from mmdrex.data.sample import sample_bars
from mmdrex.data.simulated import simulated_bars
from mmdrex.engines.backtrader import RULES, Returns, TargetStrategy, make_cerebro
from mmdrex.engines.guard import simulate
from strategies import POOL

COSTS = {"fees": 0.001, "slippage": 0.0005}
CASH = 100_000.0


def run(bars, strategy, **params):
    cerebro = make_cerebro(bars, cash=CASH, **COSTS)
    cerebro.addstrategy(strategy, **params)
    cerebro.addanalyzer(Returns)
    [ran] = cerebro.run(stdstats=False)
    return ran, CASH * (1 + ran.analyzers.returns.get_analysis()).cumprod()


def rising(seed, drift, bars=700):
    """Bars whose mean return is ``drift``: a short does not survive a strong one."""
    generator = np.random.default_rng(seed)
    close = 20 * np.exp(np.cumsum(generator.normal(drift, 0.06, bars)))
    open_ = close * np.exp(generator.normal(0, 0.05, bars))
    return pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * 1.01,
            "low": np.minimum(open_, close) * 0.99,
            "close": close,
            "volume": 1e6,
        },
        index=pd.bdate_range("2015-01-01", periods=bars),
    )


@pytest.mark.parametrize("name", POOL)
@pytest.mark.parametrize("source", ["sp500", "simulated"])
def test_equity_of_every_rule_is_the_simulated_equity(name, source):
    bars = sample_bars("sp500")[:1500] if source == "sp500" else simulated_bars(7, bars=800)[0]
    ran, equity = run(bars, RULES[name])
    expected = simulate(bars, POOL[name].targets(bars), **COSTS)
    assert ran.rejections == []
    assert equity.to_numpy() == pytest.approx(expected, rel=1e-9)
    assert ran.sleeves[0].cash == pytest.approx(ran.broker.get_cash(), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("every", [1, 3, 5])
def test_equity_agrees_at_targets_of_exactly_one_that_change_often(every):
    bars = sample_bars("nasdaq")[:1200]
    choices = np.random.default_rng(every).choice([-1.0, 0.0, 1.0], len(bars) // every + 1)
    target = pd.Series(choices.repeat(every)[: len(bars)], bars.index)
    ran, equity = run(bars, TargetStrategy, target=target)
    assert ran.rejections == []
    assert equity.to_numpy() == pytest.approx(simulate(bars, target, **COSTS), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_equity_agrees_in_runs_that_go_bankrupt(seed):
    bars = rising(seed, drift=0.01)
    ran, equity = run(bars, TargetStrategy, target=lambda bars: np.full(len(bars), -1.0))
    expected = simulate(bars, np.full(len(bars), -1.0), **COSTS)
    assert expected.min() < 0.5 * CASH
    assert ran.sleeves[0].state.target == 0.0  # closed by the guard
    assert equity.to_numpy() == pytest.approx(expected, rel=1e-9)


def test_equity_agrees_where_it_falls_below_zero():
    bars = rising(0, drift=0.0, bars=60)
    bars.iloc[30:] *= [2.5, 2.5, 2.5, 2.5, 1]  # a gap no guard can foresee
    ran, equity = run(bars, TargetStrategy, target=lambda bars: np.full(len(bars), -1.0))
    expected = simulate(bars, np.full(len(bars), -1.0), **COSTS)
    assert expected[-1] < 0
    assert ran.sleeves[0].state.bankrupt
    assert equity.to_numpy() == pytest.approx(expected, rel=1e-9)


def test_portfolio_is_the_sum_of_its_sleeves_on_the_union_calendar():
    bars = {
        "early": sample_bars("sp500")[:900],
        "late": sample_bars("nasdaq")[300:1100],
        "daily": simulated_bars(3, bars=700)[0],
        "bust": rising(1, drift=0.02),
    }
    target = {
        symbol: pd.Series(
            np.random.default_rng(number).choice([-1.0, 0.3, 1.0], len(frame)), frame.index
        )
        for number, (symbol, frame) in enumerate(bars.items())
    }
    target["bust"] = pd.Series(-1.0, bars["bust"].index)
    ran, equity = run(bars, TargetStrategy, target=target)
    sleeves = pd.DataFrame(
        {
            symbol: pd.Series(simulate(frame, target[symbol], **COSTS, cash=CASH / 4), frame.index)
            for symbol, frame in bars.items()
        }
    )
    expected = sleeves.ffill().fillna(CASH / 4).sum(axis=1)
    assert ran.rejections == []
    assert list(equity.index) == list(expected.index)
    assert equity.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-9)


def test_given_shares_size_the_sleeves():
    bars = {"a": sample_bars("sp500")[:300], "b": sample_bars("nasdaq")[:300]}
    _, equity = run(bars, RULES["long_only"], allocation={"a": 0.7, "b": 0.1})
    expected = (
        simulate(bars["a"], np.ones(300), **COSTS, cash=0.7 * CASH)
        + simulate(bars["b"], np.ones(300), **COSTS, cash=0.1 * CASH)
        + 0.2 * CASH
    )
    assert equity.to_numpy() == pytest.approx(expected, rel=1e-9)
