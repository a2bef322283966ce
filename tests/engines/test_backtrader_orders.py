"""Orders in a stock Cerebro, against fills worked out by hand."""

import warnings

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from mmdrex.engines.backtrader import (
    Bollinger,
    LongOnly,
    Routing,
    ShortOnly,
    TargetStrategy,
    backtrader_strategy,
    make_cerebro,
)
from strategies import POOL


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
