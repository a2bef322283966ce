import numpy as np
import pandas as pd
import pytest
import quantstats

from mmdrex.engines.comparison import compare
from mmdrex.engines.planning import plan
from mmdrex.engines.vectorbt import vectorbt_portfolio
from strategies import POOL

FIRST = 198


def test_rows_keep_their_order_and_have_figures_intervals_and_split(sp500):
    half = np.full(len(sp500), 0.5)
    table = compare({"half": half, "cash": half * 0}, sp500, samples=50)
    assert list(table.index) == ["half", "cash"]
    assert list(table.columns) == [
        *("TR", "Sharpe", "MDD", "turnover", "exposure"),
        *("TR low", "TR high", "Sharpe low", "Sharpe high", "MDD low", "MDD high", "split"),
    ]
    assert table.loc["half", "TR low"] < table.loc["half", "TR"] < table.loc["half", "TR high"]
    assert table.loc["half", "exposure"] == 0.5
    assert (table["split"] == "train").all()
    assert table.attrs["seed"] == 42


def test_buy_and_hold_starts_at_the_first_decision_bar(sp500):
    table = compare({"hold": np.ones(len(sp500))}, sp500, samples=10)
    # Bought at the open after the decision bar with all the cash, held to the last close.
    expected = sp500["close"].iloc[-1] / sp500["open"].iloc[FIRST + 1] - 1
    assert table.loc["hold", "TR"] == pytest.approx(expected, rel=1e-9)
    late = compare({"hold": np.ones(len(sp500))}, sp500, start="2010-01-02", samples=10)
    bought = sp500["open"]["2010-01-04"]
    assert late.loc["hold", "TR"] == pytest.approx(sp500["close"].iloc[-1] / bought - 1, rel=1e-9)


def test_figures_equal_quantstats(sp500):
    target = POOL["bollinger"].targets(sp500)
    target[:FIRST] = 0.0
    returns = vectorbt_portfolio(sp500, target, 0.001, 0.0005).returns().iloc[FIRST + 1 :]
    row = compare({"a": target}, sp500, 0.001, 0.0005, samples=10).loc["a"]
    assert row["TR"] == pytest.approx(quantstats.stats.comp(returns), rel=1e-9)
    assert row["Sharpe"] == pytest.approx(quantstats.stats.sharpe(returns, periods=252), rel=1e-9)
    assert row["MDD"] == pytest.approx(-quantstats.stats.max_drawdown(returns), rel=1e-9)


def test_plan_its_target_and_its_portfolio_are_the_same_row(sp500, router):
    planned = plan(sp500, router)
    portfolio = vectorbt_portfolio(sp500, planned.target, 0.001, 0.0005)
    rows = {"plan": planned, "target": planned.target, "portfolio": portfolio}
    table = compare(rows, sp500, 0.001, 0.0005, samples=50)
    pd.testing.assert_series_equal(table.loc["plan"], table.loc["target"], check_names=False)
    for column in ("TR", "Sharpe", "MDD", "TR low", "Sharpe high"):
        assert table.loc["portfolio", column] == pytest.approx(table.loc["plan", column], rel=1e-9)
    # Read from its fills, which cash and costs keep a little below a target of 1.
    assert table.loc["portfolio", "exposure"] == pytest.approx(table.loc["plan", "exposure"], 0.01)
    assert table.loc["portfolio", "turnover"] == pytest.approx(table.loc["plan", "turnover"], 0.01)


def test_all_rows_wait_for_the_latest_plan(sp500, router):
    planned = plan(sp500, router, start="2012-01-03")
    hold = np.ones(len(sp500))
    table = compare({"plan": planned, "hold": hold}, sp500, samples=10)
    later = compare({"hold": hold}, sp500, start="2012-01-03", samples=10)
    assert table.loc["hold", "TR"] == later.loc["hold", "TR"]


def test_row_of_a_router_trained_on_these_bars_is_stamped(sp500, make_router):
    planned = plan(sp500, make_router(trained={"exchange": ("1990-01-01", "2005-12-31")}))
    portfolio = vectorbt_portfolio(sp500, planned.target)
    rows = {"plan": planned, "portfolio": portfolio, "hold": np.ones(len(sp500))}
    table = compare(rows, sp500, samples=10)
    assert list(table["split"]) == ["train, IN-SAMPLE", "train, IN-SAMPLE", "train"]


def test_a_split_begins_with_what_is_earned_in_it(sp500, nasdaq, make_router):
    """One market rests on the last training day: the close before is decided on, not earned."""
    bars = {"sp500": sp500[sp500.index != "2010-12-31"], "nasdaq": nasdaq}
    router = make_router(trained={"exchange": ("1990-01-01", "2010-12-31")})
    for start, split in (("2011-01-01", "train"), ("2010-12-31", "train, IN-SAMPLE")):
        plans = plan(bars, router, start=start)
        table = compare({"plan": plans}, bars, start=start, samples=10)
        assert list(table["split"]) == [split]
        assert any(one.in_sample for one in plans.values()) == ("IN-SAMPLE" in split)


def test_several_assets_are_one_portfolio(sp500, nasdaq, router):
    bars = {"sp500": sp500, "nasdaq": nasdaq[500:]}
    plans = plan(bars, router)
    portfolio = vectorbt_portfolio(bars, {s: p.target for s, p in plans.items()}, 0.001, 0.0005)
    table = compare({"plans": plans, "portfolio": portfolio}, bars, 0.001, 0.0005, samples=10)
    returns = portfolio.total.returns().iloc[FIRST + 1 :]
    expected = quantstats.stats.sharpe(returns, periods=252)
    assert table["Sharpe"].to_numpy() == pytest.approx([expected, expected], rel=1e-8)
    assert table.loc["portfolio", "exposure"] == pytest.approx(table.loc["plans", "exposure"], 0.02)


def test_run_in_cash_has_no_sharpe_rather_than_zero(sp500):
    row = compare({"cash": np.zeros(len(sp500))}, sp500, samples=10).loc["cash"]
    assert row["TR"] == 0.0
    assert np.isnan([row["Sharpe"], row["Sharpe low"], row["Sharpe high"]]).all()


def test_bankrupt_run_has_lost_everything(crashing):
    row = compare({"short": -np.ones(len(crashing))}, crashing, samples=10).loc["short"]
    assert row["TR"] == -1.0
    assert row["MDD"] == 1.0


def test_rows_that_do_not_fit_the_bars_are_refused(sp500, nasdaq):
    grid = vectorbt_portfolio(sp500, np.ones((len(sp500), 3)))
    with pytest.raises(ValueError, match="one column of a grid at a time"):
        compare({"grid": grid}, sp500)
    with pytest.raises(ValueError, match="dates differ"):
        compare({"other": vectorbt_portfolio(sp500[:900], np.ones(900))}, sp500)
    with pytest.raises(ValueError, match="no targets for 'nasdaq'"):
        compare({"a": {"sp500": np.ones(len(sp500))}}, {"sp500": sp500, "nasdaq": nasdaq})
    with pytest.raises(ValueError, match="dict of targets by symbol"):
        compare({"a": np.ones(len(sp500))}, {"sp500": sp500, "nasdaq": nasdaq})
    with pytest.raises(ValueError, match="none to compare"):
        compare({"a": np.ones(150)}, sp500[:150])
