"""MM-DREX in backtrader against ``plan``, whose own tests say what a plan is."""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from mmdrex.audit.records import read_decisions
from mmdrex.engines.backtrader import MMDREXStrategy, Returns, Routing, Weights, make_cerebro
from mmdrex.engines.guard import simulate
from mmdrex.engines.planning import plan
from mmdrex.errors import TooFewBarsError
from strategies import EXPERTS, POOL

CASH = 100_000.0


def run(bars, router, cerebro=None, loop=None, **params):
    cerebro = cerebro or make_cerebro(bars, CASH, 0.001, 0.0005)
    cerebro.addstrategy(MMDREXStrategy, router=router, **params)
    cerebro.addanalyzer(Routing)
    cerebro.addanalyzer(Returns)
    [ran] = cerebro.run(stdstats=False, **(loop or {}))
    return ran


def test_targets_and_equity_are_those_of_the_plan(sp500, router):
    bars = sp500[:700]
    ran = run(bars, router)
    planned = plan(bars, router)
    [targets] = ran.raw_targets.values()
    assert (targets.to_numpy() == planned.target.to_numpy()).all()
    equity = CASH * (1 + ran.analyzers.returns.get_analysis()).cumprod()
    expected = simulate(bars, planned.target, 0.001, 0.0005)
    assert equity.to_numpy() == pytest.approx(expected, rel=1e-9)
    assert ran.rejections == []


def test_preloaded_feeds_are_decided_in_one_batch(sp500, nasdaq, router):
    run({"a": sp500[:500], "b": nasdaq[:600]}, router)
    assert router.batches == [4 + 5]  # windows from bar 198 on, 90 bars each


@pytest.mark.parametrize("loop", [{"preload": False, "runonce": False}, {"exactbars": 1}])
@pytest.mark.parametrize(
    "weights", [None, "uniform", "random", "best_expert", lambda observation: [0, 0.5, 0.5, 0]]
)
def test_targets_are_the_same_bar_by_bar(sp500, router, loop, weights):
    bars = sp500[:500]
    ran = run(bars, router, loop=loop, weights=weights)
    [targets] = ran.raw_targets.values()
    assert (targets.to_numpy() == plan(bars, router, weights=weights).target.to_numpy()).all()


@pytest.mark.parametrize("weights", [None, "best_expert"])
@pytest.mark.parametrize("row", [100, 199, 450])
def test_start_is_the_same_bar_by_bar(sp500, router, weights, row):
    bars, start = sp500[:600], sp500.index[row]
    planned = plan(bars, router, start=start, weights=weights)
    for loop in ({}, {"preload": False, "runonce": False}):
        ran = run(bars, router, loop=loop, start=start, weights=weights)
        assert [d.to_json() for d in ran.decisions] == [d.to_json() for d in planned.decisions]
        [targets] = ran.raw_targets.values()
        assert (targets.to_numpy() == planned.target.to_numpy()).all()
        equity = CASH * (1 + ran.analyzers.returns.get_analysis()).cumprod()
        expected = simulate(bars, planned.target, 0.001, 0.0005)
        assert equity.to_numpy() == pytest.approx(expected, rel=1e-9)


def test_start_shows_one_bar_late_in_a_stock_cerebro_without_preload(sp500, router):
    bars, start = sp500[:600], sp500.index[450]
    cerebro = bt.Cerebro(preload=False, runonce=False)
    cerebro.broker.set_cash(1e9)
    cerebro.adddata(bt.feeds.PandasData(dataname=bars))
    [targets] = run(None, router, cerebro, start=start).raw_targets.values()
    expected = plan(bars, router, start=start).target
    assert (targets[450:].to_numpy() == expected[450:].to_numpy()).all()
    assert (targets[:450] == 0).all()


def test_feeds_due_together_are_asked_in_one_batch(sp500, nasdaq, router):
    bars = {"a": sp500[:400], "b": nasdaq[:400]}
    ran = run(bars, router, loop={"preload": False, "runonce": False})
    assert router.batches == [2, 2, 2]  # bars 198, 288, 378
    for symbol, planned in plan(bars, router).items():
        assert (ran.raw_targets[symbol].to_numpy() == planned.target.to_numpy()).all()


def test_stock_cerebro_takes_the_symbol_of_the_frame(sp500, router):
    bars = sp500[:400].copy()
    bars.attrs["symbol"] = "SPX"
    cerebro = bt.Cerebro()
    cerebro.broker.set_cash(1e9)
    cerebro.adddata(bt.feeds.PandasData(dataname=bars))
    ran = run(None, router, cerebro)
    assert (ran.raw_targets["SPX"].to_numpy() == plan(bars, router).target.to_numpy()).all()


def test_routing_reports_weights_and_rules_of_every_window(sp500, router):
    routing = run(sp500[:500], router).analyzers.routing.get_analysis()
    decisions = plan(sp500[:500], router).decisions
    assert [d.time for d in routing["decisions"]] == [d.time for d in decisions]
    assert list(routing["weights"].columns) == list(EXPERTS)
    assert routing["weights"].index.names == ["symbol", "time"]
    assert (routing["weights"].to_numpy() == [d.weights for d in decisions]).all()
    assert routing["rules"].to_dict("records") == [d.rules for d in decisions]
    assert routing["rejections"].empty
    assert routing["orders"] > 0


def test_every_order_carries_its_decision(sp500, router):
    class Recording(MMDREXStrategy):
        def notify_order(self, order):  # hides orders from a parent that would listen
            orders.append((self.data.datetime.datetime(0), order.info.decision, order.created.dt))

    orders = []
    cerebro = make_cerebro(sp500[:500])
    cerebro.addstrategy(Recording, router=router)
    [ran] = cerebro.run(stdstats=False)
    times = [decision.time for decision in ran.decisions]
    for filled, decision, _ in orders:
        # the decision in force on the bar before the fill
        assert decision.time == max(time for time in times if time < pd.Timestamp(filled))
    assert len(orders) >= ran.sent


def test_weights_observer_shows_the_split_in_force(sp500, router):
    bars = sp500[:450]
    cerebro = make_cerebro(bars)
    cerebro.addobserver(Weights)
    ran = run(bars, router, cerebro)
    lines = ran.stats.weights.lines
    shown = np.column_stack([getattr(lines, name).array[: len(bars)] for name in EXPERTS])
    assert (shown == plan(bars, router).weights.to_numpy()).all()


def test_audit_file_holds_the_decisions(sp500, router, tmp_path):
    path = tmp_path / "decisions.jsonl"
    path.write_text("of an earlier run\n")
    for loop in ({}, {"preload": False, "runonce": False}):
        ran = run(sp500[:450], router, loop=loop, audit=path)
        assert [d.to_json() for d in read_decisions(path)] == [d.to_json() for d in ran.decisions]


def test_optstrategy_plans_in_two_processes(sp500, router):
    cerebro = make_cerebro(sp500[:500])
    cerebro.optstrategy(MMDREXStrategy, router=[router], window=[60, 90])
    cerebro.addanalyzer(Routing)
    results = cerebro.run(maxcpus=2, stdstats=False)
    for [result], window in zip(results, (60, 90), strict=True):
        decided = result.analyzers.routing.get_analysis()["decisions"]
        expected = plan(sp500[:500], router, window=window).decisions
        assert [d.to_json() for d in decided] == [d.to_json() for d in expected]


def test_rule_of_one_s_own_is_traded(sp500, make_router):
    pool = {**POOL, "slow_bands": POOL["bollinger"].with_params(n=40)}
    experts = {**EXPERTS, "reversal": ("slow_bands",)}
    router = make_router(experts)
    for loop in ({}, {"preload": False, "runonce": False}):
        ran = run(sp500[:400], router, loop=loop, pool=pool, experts=experts)
        assert {decision.rules["reversal"] for decision in ran.decisions} == {"slow_bands"}
        [targets] = ran.raw_targets.values()
        expected = plan(sp500[:400], router, pool=pool, experts=experts).target
        assert (targets.to_numpy() == expected.to_numpy()).all()


def test_router_of_another_pool_is_refused(sp500, make_router):
    with pytest.raises(ValueError, match="trained on another pool"):
        run(sp500[:400], make_router({**EXPERTS, "reversal": ("kdj",)}))


@pytest.mark.parametrize(("trained", "overlaps"), [("2000-06-01", True), ("1998-06-01", False)])
def test_run_on_training_dates_is_called_in_sample(sp500, make_router, caplog, trained, overlaps):
    ran = run(sp500[:400], make_router(trained={"exchange": ("1990-01-01", trained)}), window=60)
    first = ran.decisions[0].time
    assert (first <= pd.Timestamp(trained)) == overlaps
    assert ran.analyzers.routing.get_analysis()["in_sample"] == overlaps
    assert ("IN-SAMPLE" in caplog.text) == overlaps


def test_plot_shows_target_and_weights_without_a_display(sp500, router):
    import matplotlib.pyplot as plt

    cerebro = make_cerebro(sp500[:400])
    cerebro.addstrategy(MMDREXStrategy, router=router)
    cerebro.addobserver(Weights)
    cerebro.run()
    [[figure]] = cerebro.plot(iplot=False)
    words = " ".join(text.get_text() for text in figure.findobj(plt.Text))
    for word in ("target", *EXPERTS):
        assert word in words
    plt.close("all")


def test_short_feed_stays_in_cash_beside_a_long_one(sp500, nasdaq, router):
    with pytest.warns(UserWarning, match="not traded: short has 200 bars"):
        ran = run({"long": sp500[:400], "short": nasdaq[:200]}, router)
    assert (ran.raw_targets["short"] == 0).all()
    assert (ran.raw_targets["long"] != 0).any()


def test_short_feed_alone_is_refused(sp500, router):
    with pytest.raises(TooFewBarsError, match="need at least 289"):
        run(sp500[:288], router)


def test_dict_that_optstrategy_took_apart_is_refused(sp500, router):
    with pytest.raises(TypeError, match=r"pool must be a dict.*wrap it in a list: pool=\[\{"):
        run(sp500[:400], router, pool="bollinger")


def test_misspelt_parameter_is_refused(sp500, router):
    with pytest.raises(TypeError, match=r"no parameter 'windw'.*Did you mean 'window'\?"):
        run(sp500[:400], router, windw=60)
