"""What a backtrader user does with the strategies, in a stock Cerebro and in ours."""

import subprocess
import sys
import warnings
from pathlib import Path

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

import mmdrex.engines.backtrader as engine
from mmdrex.engines.backtrader import (
    RULES,
    Bollinger,
    LongOnly,
    Returns,
    Routing,
    TargetStrategy,
    Weights,
    backtrader_strategy,
    make_cerebro,
)
from strategies import POOL

LOOPS = [{}, {"runonce": False}, {"preload": False, "runonce": False}, {"exactbars": 1}]


def stock_cerebro(*frames, names=(), cash=10_000.0):
    cerebro = bt.Cerebro()
    cerebro.broker.set_cash(cash)
    for number, frame in enumerate(frames):
        name = names[number] if names else None
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    return cerebro


def run(cerebro, strategy, loop=None, **params):
    cerebro.addstrategy(strategy, **params)
    cerebro.addanalyzer(Routing)
    [ran] = cerebro.run(stdstats=False, **(loop or {}))
    return ran


# Classes and their parameters


@pytest.mark.parametrize("name", POOL)
def test_every_rule_is_a_module_attribute_with_the_rule_s_parameters(name):
    strategy = backtrader_strategy(name)
    assert getattr(engine, strategy.__name__) is strategy
    assert issubclass(strategy, bt.Strategy)
    defaults = dict(strategy.params._getitems())
    assert POOL[name].params._asdict().items() <= defaults.items()


def test_unknown_rule_is_named():
    with pytest.raises(ValueError, match=r"Did you mean 'bollinger'\?"):
        backtrader_strategy("bolinger")


@pytest.mark.parametrize("name", POOL)
@pytest.mark.parametrize("loop", LOOPS)
def test_targets_are_those_of_the_rule_in_every_loop(sp500, name, loop):
    bars = sp500[:160]
    ran = run(make_cerebro(bars), RULES[name], loop)
    [targets] = ran.raw_targets.values()
    assert (targets.to_numpy() == POOL[name].targets(bars)).all()
    assert list(targets.index) == list(bars.index)


def test_parameters_reach_the_rule(sp500):
    ran = run(make_cerebro(sp500[:300]), Bollinger, k=1.2, n=10)
    [targets] = ran.raw_targets.values()
    expected = POOL["bollinger"].with_params(k=1.2, n=10).targets(sp500[:300])
    assert (targets.to_numpy() == expected).all()


def test_misspelt_parameter_is_refused(sp500):
    with pytest.raises(TypeError, match=r"Bollinger has no parameter 'feds'.*mean 'feeds'\?"):
        run(make_cerebro(sp500[:30]), Bollinger, feds=["a"])


def test_positional_argument_is_refused(sp500):
    cerebro = make_cerebro(sp500[:30])
    cerebro.addstrategy(Bollinger, 20)
    with pytest.raises(TypeError, match="parameters by name"):
        cerebro.run()


def test_optstrategy_runs_in_two_processes(sp500):
    bars = sp500[:300]
    cerebro = make_cerebro(bars)
    cerebro.optstrategy(Bollinger, n=range(10, 30, 5))
    cerebro.addanalyzer(Returns)
    cerebro.addanalyzer(Routing)
    results = cerebro.run(maxcpus=2, stdstats=False)
    assert [result.params.n for [result] in results] == [10, 15, 20, 25]
    for [result] in results:
        growth = (1 + result.analyzers.returns.get_analysis()).prod()
        alone = run(make_cerebro(bars), Bollinger, n=result.params.n)
        assert growth == pytest.approx(alone.broker.get_value() / 100_000, rel=1e-12)
        assert result.analyzers.routing.get_analysis()["orders"] == alone.sent


def test_dict_that_optstrategy_took_apart_says_wrap_it_in_a_list(sp500):
    cerebro = make_cerebro(sp500[:30])
    cerebro.optstrategy(LongOnly, allocation={"sp500": 0.5})
    with pytest.raises(TypeError, match=r"wrap it in a list: allocation=\[\{"):
        cerebro.run(maxcpus=1)
    cerebro = make_cerebro(sp500[:30])
    cerebro.optstrategy(LongOnly, allocation=[{"sp500": 0.5}])
    assert len(cerebro.run(maxcpus=1)) == 1


# Targets of one's own


def test_target_strategy_takes_series_functions_and_dicts(sp500):
    bars = sp500[:60]
    series = pd.Series(np.linspace(-0.5, 0.5, 60), bars.index)
    for target in (series, lambda bars: series[bars.index], {"sp500": series}):
        for loop in LOOPS:
            ran = run(make_cerebro(bars), TargetStrategy, loop, target=target)
            assert (ran.raw_targets["sp500"].to_numpy() == series.to_numpy()).all()


def test_target_strategy_refuses_what_does_not_fit(sp500):
    for target, message in (
        (pd.Series(0.0, sp500.index[:20]), "got nan"),
        ({"sp50": None}, r"no target for 'sp500'.*Did you mean 'sp50'\?"),
        (lambda bars: np.full(len(bars), 2.0), "got 2.0"),
    ):
        with pytest.raises(ValueError, match=message):
            run(make_cerebro(sp500[:30]), TargetStrategy, target=target)
    with pytest.raises(TypeError, match="target must be a Series"):
        run(make_cerebro(sp500[:30]), TargetStrategy)


# Analyzers, observers, plots


def test_returns_are_tz_naive_and_compound_to_the_value(sp500):
    cerebro = stock_cerebro(sp500[:60])
    cerebro.addanalyzer(Returns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ran = run(cerebro, LongOnly)
    returns = ran.analyzers.returns.get_analysis()
    assert returns.index.tz is None
    assert list(returns.index) == list(sp500.index[:60])
    assert (1 + returns).prod() == pytest.approx(ran.broker.get_value() / 10_000, rel=1e-12)


def test_backtrader_s_own_analyzers_observers_and_writer_run_beside_ours(sp500, tmp_path):
    cerebro = make_cerebro(sp500[:120])
    cerebro.addstrategy(Bollinger)
    for analyzer in (bt.analyzers.TradeAnalyzer, bt.analyzers.DrawDown, Routing, Returns):
        cerebro.addanalyzer(analyzer)
    cerebro.addobserver(bt.observers.DrawDown)
    cerebro.addobserver(Weights)
    cerebro.addwriter(bt.WriterFile, csv=True, out=str(tmp_path / "run.csv"))
    [ran] = cerebro.run()
    assert ran.analyzers.tradeanalyzer.get_analysis().total.total > 0
    assert "rejections" in (tmp_path / "run.csv").read_text()


def test_routing_beside_a_foreign_strategy_is_refused(sp500):
    with pytest.raises(TypeError, match="Routing reads strategies of mmdrex"):
        run(stock_cerebro(sp500[:30]), bt.Strategy)


@pytest.mark.parametrize("name", POOL)
def test_plot_draws_the_rule_s_lines_without_a_display(sp500, name):
    import matplotlib.pyplot as plt

    cerebro = make_cerebro({"a": sp500[:120], "b": sp500[50:200]})
    cerebro.addstrategy(RULES[name])
    cerebro.addobserver(Weights)
    cerebro.run()
    [[figure]] = cerebro.plot(iplot=False)
    labels = {text.get_text().split()[0] for text in figure.findobj(plt.Text) if text.get_text()}
    assert {"target", *RULES[name].on_price, *RULES[name].below} <= labels
    plt.close("all")


def test_drawn_lines_are_the_features_in_every_loop(sp500):
    bars = sp500[:60]
    features = POOL["bollinger"].features(bars, POOL["bollinger"].params)
    for loop in LOOPS[:3]:
        ran = run(make_cerebro(bars), Bollinger, loop)
        drawn = {line.p.name: np.array(line.lines.value.array) for line in ran.getindicators()}
        np.testing.assert_array_equal(drawn["upper"], features["upper"])
        np.testing.assert_array_equal(drawn["target"], POOL["bollinger"].targets(bars))


def test_import_loads_neither_vectorbt_nor_torch():
    code = (
        "import sys, mmdrex.engines.backtrader\n"
        "assert not {'vectorbt', 'torch', 'transformers'} & set(sys.modules), 'imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(engine.__file__).parents[2])
