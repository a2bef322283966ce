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
    ShortOnly,
    TargetStrategy,
    Weights,
    backtrader_strategy,
    make_cerebro,
)
from strategies import POOL

LOOPS = [{}, {"runonce": False}, {"preload": False, "runonce": False}, {"exactbars": 1}]


def make_bars(opens, closes):
    opens, closes = np.array(opens, dtype=float), np.array(closes, dtype=float)
    return pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes),
            "low": np.minimum(opens, closes),
            "close": closes,
            "volume": 1.0,
        },
        index=pd.bdate_range("2020-01-01", periods=len(opens)),
    )


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


# Feeds


def test_bare_string_for_feeds_says_wrap_it_in_a_list(sp500):
    with pytest.raises(TypeError, match=r"wrap it in a list: feeds=\['asset'\]"):
        run(make_cerebro(sp500[:30]), LongOnly, feeds="asset")


def test_benchmark_feed_is_left_alone(sp500, nasdaq):
    for wanted in (["stock"], [1], [-1]):
        cerebro = stock_cerebro(nasdaq[:60], sp500[:60], names=("benchmark", "stock"))
        ran = run(cerebro, LongOnly, feeds=wanted)
        assert list(ran.raw_targets) == ["stock"]
        assert ran.getpositionbyname("stock").size > 0
        assert ran.getpositionbyname("benchmark").size == 0


def test_unknown_feed_is_named(sp500):
    with pytest.raises(ValueError, match=r"no feed 'stok'.*Did you mean 'stock'\?"):
        run(stock_cerebro(sp500[:30], names=("stock",)), LongOnly, feeds=["stok"])
    with pytest.raises(ValueError, match="no feed 3; there are 1"):
        run(stock_cerebro(sp500[:30]), LongOnly, feeds=[3])


def test_two_feeds_of_one_name_are_refused(sp500):
    with pytest.raises(ValueError, match="two feeds are named 'a'"):
        run(stock_cerebro(sp500[:30], sp500[:30], names=("a", "a")), LongOnly)


def test_unnamed_feeds_are_told_apart():
    bars = make_bars([100] * 3, [100] * 3)
    ran = run(stock_cerebro(bars, bars), LongOnly)
    assert list(ran.raw_targets) == ["asset0", "asset1"]
    assert list(run(stock_cerebro(bars), LongOnly).raw_targets) == ["asset"]


def test_weekly_resample_is_not_traded_and_changes_no_target(sp500):
    bars = sp500[:300]
    cerebro = make_cerebro(bars)
    cerebro.resampledata(cerebro.datas[0], timeframe=bt.TimeFrame.Weeks)
    ran = run(cerebro, Bollinger)
    [targets] = ran.raw_targets.values()
    assert (targets.to_numpy() == POOL["bollinger"].targets(bars)).all()
    assert ran.broker.get_value() == pytest.approx(
        run(make_cerebro(bars), Bollinger).broker.get_value(), rel=1e-12
    )


def test_replayed_feed_is_refused(sp500):
    cerebro = bt.Cerebro()
    cerebro.replaydata(bt.feeds.PandasData(dataname=sp500[:60]), timeframe=bt.TimeFrame.Weeks)
    with pytest.raises(ValueError, match="unfinished bars"):
        run(cerebro, LongOnly)


# With exactbars=1 backtrader itself fails on feeds that start on different days.
@pytest.mark.parametrize("loop", LOOPS[:3])
def test_mixed_calendars_decide_a_feed_on_its_own_bars_only(sp500, simulated, loop):
    every_day = simulated[:250].set_index(pd.date_range("1999-01-04", periods=250))
    bars = {"stock": sp500[20:170], "coin": every_day}
    ran = run(make_cerebro(bars), Bollinger, loop)
    for symbol, frame in bars.items():
        targets = ran.raw_targets[symbol]
        assert list(targets.index) == list(frame.index)
        assert (targets.to_numpy() == POOL["bollinger"].targets(frame)).all()


def test_end_of_day_stamps_of_csv_feeds_stand_for_the_day(sp500, tmp_path):
    path = tmp_path / "sp500.csv"
    sp500[:60].to_csv(path, columns=["open", "high", "low", "close", "volume"])
    cerebro = bt.Cerebro()
    cerebro.adddata(
        bt.feeds.GenericCSVData(dataname=str(path), dtformat="%Y-%m-%d", openinterest=-1)
    )
    [targets] = run(cerebro, LongOnly).raw_targets.values()
    assert list(targets.index) == list(sp500.index[:60])


# Allocation


def test_allocation_is_checked(sp500):
    for allocation, message in (
        ({"sp50": 1.0}, r"names 'sp50'.*Did you mean 'sp500'\?"),
        ({}, "no share for sp500"),
        ({"sp500": 1.5}, "sum to at most 1"),
        ({"sp500": -0.5}, "positive"),
    ):
        with pytest.raises(ValueError, match=message):
            run(make_cerebro(sp500[:30]), LongOnly, allocation=allocation)


# Orders in a stock Cerebro


def test_rejected_buy_is_sent_again_smaller_and_counted():
    # 10,000 buy 100 shares at the close of 100, which cost 11,000 at the open of 110: rejected.
    # At the close of 100 the order is sent for 99 shares, and filled at 101 for 9,999.
    bars = make_bars([100, 110, 101, 102], [100, 100, 101, 102])
    with pytest.warns(UserWarning, match="of 2 orders 1 were rejected"):
        ran = run(stock_cerebro(bars), LongOnly)
    rejections = ran.analyzers.routing.get_analysis()["rejections"]
    assert rejections.to_dict("records") == [
        {"time": bars.index[1], "symbol": "asset", "reason": "Margin", "size": 100.0}
    ]
    assert ran.getposition().size == 99
    assert ran.broker.get_cash() == 1
    assert ran.sleeves[0].cash == 1


def test_order_is_sent_again_until_it_fits():
    # 100 shares fail at 110; 99 at 103 (10,197); 98 at 102.5 (10,045); 96 at 101 are filled
    bars = make_bars([100, 110, 103, 102.5, 101, 101], [100, 100, 100, 100, 101, 101])
    with pytest.warns(UserWarning, match="of 4 orders 3 were rejected"):
        ran = run(stock_cerebro(bars), LongOnly)
    assert ran.analyzers.routing.get_analysis()["rejections"]["size"].tolist() == [100, 99, 98]
    assert ran.getposition().size == 96


def test_reversal_rejected_half_way_is_booked_and_completed():
    # 100 short at 100; covered at 100, but 100 more at 103 can't be paid: 99 follow at 100
    bars = make_bars([100, 100, 103, 97, 97], [100, 100, 100, 97, 97])
    target = pd.Series([-1.0, 1.0, 1.0, 1.0, 1.0], bars.index)
    with pytest.warns(UserWarning, match="1 were rejected"):
        ran = run(stock_cerebro(bars), TargetStrategy, target=target)
    assert ran.sleeves[0].cash == pytest.approx(ran.broker.get_cash())
    assert ran.sleeves[0].position == ran.getposition().size == 96  # 9,700 at 100, less 1 %
    assert len(ran.rejections) == 1


def test_target_too_small_for_a_whole_share_is_reported():
    bars = make_bars([60_000] * 5, [60_000] * 5)
    with pytest.warns(UserWarning, match="1 more came to less than one share"):
        ran = run(stock_cerebro(bars), LongOnly)
    [rejection] = ran.rejections
    assert (rejection.reason, rejection.time) == ("less than one share", bars.index[0])
    assert rejection.size == pytest.approx(1 / 6)


def test_sleeves_add_up_to_the_account_in_a_stock_cerebro(sp500, nasdaq):
    cerebro = stock_cerebro(sp500[:600], nasdaq[:600], names=("a", "b"), cash=100_000.0)
    cerebro.broker.setcommission(commission=0.001)
    cerebro.broker.set_slippage_perc(0.0005)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ran = run(cerebro, backtrader_strategy("ma_cross"))
    cash = sum(sleeve.cash for sleeve in ran.sleeves)
    assert cash == pytest.approx(ran.broker.get_cash(), rel=1e-12)
    for sleeve in ran.sleeves:
        assert sleeve.position == ran.getposition(sleeve.data).size
        assert sleeve.position == int(sleeve.position)
    assert ran.sent > 50


def test_partly_filled_order_gives_way_to_a_new_target():
    bars = make_bars([100] * 6, [100] * 6).assign(volume=30.0)
    cerebro = stock_cerebro(bars)
    cerebro.broker.set_filler(bt.fillers.FixedBarPerc(perc=100.0))
    target = pd.Series([1.0, 1.0, 0.2, 0.2, 0.2, 0.2], bars.index)
    ran = run(cerebro, TargetStrategy, target=target)
    # 30 shares a bar: 60 held when the target falls to 20 shares; the rest of 100 is cancelled
    assert ran.getposition().size == 20
    assert ran.rejections == []
    assert ran.sleeves[0].cash == ran.broker.get_cash() == 8_000


def test_short_is_closed_by_the_guard_in_a_stock_cerebro():
    closes = [100, 100, 130, 165, 165, 165]
    ran = run(stock_cerebro(make_bars(closes, closes)), ShortOnly)
    # 100 shares short at 100: equity 20,000 - 16,500 at 165, under a quarter of 16,500
    assert ran.sleeves[0].state.target == 0
    assert ran.getposition().size == 0
    assert ran.broker.get_cash() == 3_500


def test_overriding_notify_methods_breaks_nothing(sp500):
    class Deaf(Bollinger):
        def notify_order(self, order):
            heard.append(order)

        def notify_trade(self, trade):
            heard.append(trade)

    heard = []
    deaf = run(make_cerebro(sp500[:300]), Deaf)
    plain = run(make_cerebro(sp500[:300]), Bollinger)
    assert heard
    assert deaf.broker.get_value() == plain.broker.get_value()
    assert deaf.sleeves[0].cash == plain.sleeves[0].cash


def test_every_order_says_why(sp500):
    class Listening(Bollinger):
        def notify_order(self, order):
            seen.append((order.info.decision, order.info.target))

    seen = []
    bars = sp500[:300]
    run(make_cerebro(bars), Listening)
    targets = pd.Series(POOL["bollinger"].targets(bars), bars.index)
    assert seen
    for decision, target in seen:
        assert decision.symbol == "sp500"
        assert decision.target == targets[decision.time] == target


def test_futures_like_commission_is_refused(sp500):
    cerebro = stock_cerebro(sp500[:30])
    cerebro.broker.setcommission(commission=2.0, margin=2000.0)
    with pytest.raises(ValueError, match="stock-like"):
        run(cerebro, LongOnly)


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
    words = [text.get_text() for axes in figure.axes for text in axes.findobj(plt.Text)]
    for line in ("target", *RULES[name].on_price, *RULES[name].below):
        assert any(line in word for word in words), line
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
