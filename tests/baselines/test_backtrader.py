"""Baselines as strategies of a Cerebro."""

import pickle

import backtrader as bt
import numpy as np
import pytest

import mmdrex
from baselines import BASELINES
from baselines.backtrader import STRATEGIES
from mmdrex.engines.backtrader import make_cerebro
from mmdrex.engines.vectorbt import vectorbt_portfolio


def run(bars, name, preload=True, **params):
    cerebro = make_cerebro(bars, fees=0.001, slippage=0.0005)
    cerebro.addstrategy(mmdrex.backtrader_strategy(name), **params)
    [strategy] = cerebro.run(stdstats=False, preload=preload, runonce=preload)
    return strategy


def test_every_baseline_of_the_table_has_a_strategy():
    assert set(BASELINES) <= set(STRATEGIES)


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_strategy_can_be_pickled(name):
    assert pickle.loads(pickle.dumps(STRATEGIES[name])) is STRATEGIES[name]


def test_fitted_baseline_trades_as_in_vectorbt(fitted, bars):
    strategy = run(bars, fitted.name, model=fitted)
    value = vectorbt_portfolio(bars, fitted.targets(bars), 0.001, 0.0005).value().iloc[-1]
    # 1e-9: the two sum the same fills in another order.
    assert strategy.broker.getvalue() == pytest.approx(value, rel=1e-9)


def test_saved_baseline_trades_like_the_one_in_memory(fitted, bars, tmp_path):
    fitted.save(tmp_path / "saved")
    one, other = (
        run(bars, fitted.name, model=model).broker.getvalue()
        for model in (fitted, str(tmp_path / "saved"))
    )
    assert one == other


def test_bar_by_bar_targets_are_those_of_all_bars_at_once(fitted, bars):
    few = bars.iloc[:160]
    [live] = run(few, fitted.name, preload=False, model=fitted).raw_targets.values()
    np.testing.assert_array_equal(live, fitted.targets(few))


def test_parameters_of_a_rule_are_swept_in_several_processes(bars):
    cerebro = bt.Cerebro(maxcpus=2, cheat_on_open=True)
    cerebro.adddata(bt.feeds.PandasData(dataname=bars))
    macd = BASELINES["macd"]
    cerebro.optstrategy(mmdrex.backtrader_strategy("macd"), model=[macd(fast=5), macd(fast=9)])
    assert len(cerebro.run(stdstats=False)) == 2


def test_rules_are_still_found_by_name():
    assert mmdrex.backtrader_strategy("bollinger").__name__ == "Bollinger"


def test_misspelt_baseline_is_answered_with_a_near_name():
    with pytest.raises(ValueError, match="Did you mean 'buy_and_hold'"):
        mmdrex.backtrader_strategy("buy_and_hod")


def test_model_of_another_baseline_is_refused(bars):
    with pytest.raises(TypeError, match="model must be a macd"):
        run(bars, "macd", model=BASELINES["bbi"]())
