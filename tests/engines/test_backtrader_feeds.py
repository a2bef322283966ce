"""Which feeds are traded, and when."""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from mmdrex.engines.backtrader import Bollinger, LongOnly, Routing, make_cerebro
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


def test_allocation_is_checked(sp500):
    for allocation, message in (
        ({"sp50": 1.0}, r"names 'sp50'.*Did you mean 'sp500'\?"),
        ({}, "no share for sp500"),
        ({"sp500": 1.5}, "sum to at most 1"),
        ({"sp500": -0.5}, "positive"),
    ):
        with pytest.raises(ValueError, match=message):
            run(make_cerebro(sp500[:30]), LongOnly, allocation=allocation)
