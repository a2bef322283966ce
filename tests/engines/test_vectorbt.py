import numpy as np
import pandas as pd
import pytest
import quantstats
import vectorbt as vbt

from mmdrex.engines.guard import simulate
from mmdrex.engines.vectorbt import BOLLINGER, TargetPortfolio, vectorbt_portfolio
from strategies import POOL

FEES, SLIPPAGE = 0.001, 0.0005


@pytest.fixture(scope="module")
def target(sp500):
    return pd.Series(POOL["bollinger"].targets(sp500), index=sp500.index)


def test_order_is_filled_at_the_open_of_the_next_bar_with_slippage_and_fees():
    bars = pd.DataFrame(
        {
            "open": [10.0, 20.0, 30.0, 40.0],
            "high": 50.0,
            "low": 5.0,
            "close": [15.0, 25.0, 35.0, 45.0],
            "volume": 1.0,
        },
        index=pd.bdate_range("2020-01-01", periods=4),
    )
    portfolio = vectorbt_portfolio(bars, [0.5, 0.5, 0.0, 0.0], fees=0.01, slippage=0.1, cash=1000)
    buy, sell = portfolio.orders.records.to_dict("records")
    # By hand: 500 of value at the open of 20 are 25 shares, bought at 22, fee 1 % of 550.
    assert (buy["idx"], buy["size"], buy["price"], buy["fees"]) == (1, 25.0, 22.0, 5.5)
    # Sold at the open of 40 less 10 %.
    assert (sell["idx"], sell["size"], sell["price"], sell["fees"]) == (3, 25.0, 36.0, 9.0)
    assert portfolio.value().iloc[-1] == pytest.approx(1000 - 550 - 5.5 + 900 - 9, rel=1e-14)


def test_orders_are_sent_only_when_the_target_changes(sp500):
    target = np.repeat([0.0, 0.5, 0.5, -0.5], [1000, 1000, 1000, 2031])
    assert len(vectorbt_portfolio(sp500, target).orders.records) == 2


def test_full_target_across_a_gap_is_bought_as_far_as_the_cash_goes(sp500):
    portfolio = vectorbt_portfolio(sp500, np.ones(len(sp500)), FEES, SLIPPAGE)
    shares = 100_000 / (sp500["open"].iloc[1] * (1 + SLIPPAGE) * (1 + FEES))
    assert portfolio.assets().iloc[-1] == pytest.approx(shares, rel=1e-11)


def test_sharpe_stats_and_quantstats_use_252_days_for_stocks(sp500, target):
    portfolio = vectorbt_portfolio(sp500, target, FEES, SLIPPAGE)
    expected = quantstats.stats.sharpe(portfolio.returns(), periods=252)
    assert portfolio.sharpe_ratio() == pytest.approx(expected, rel=1e-12)
    assert portfolio.stats()["Sharpe Ratio"] == pytest.approx(expected, rel=1e-12)
    assert portfolio.returns_stats()["Sharpe Ratio"] == pytest.approx(expected, rel=1e-12)
    assert portfolio.qs.sharpe() == pytest.approx(expected, rel=1e-12)
    assert portfolio.total.sharpe_ratio() == pytest.approx(expected, rel=1e-12)


def test_sharpe_stats_and_quantstats_use_365_days_for_crypto(sp500, target):
    days = pd.date_range("2005-01-01", periods=len(sp500))
    portfolio = vectorbt_portfolio(sp500.set_axis(days), target.to_numpy())
    expected = quantstats.stats.sharpe(portfolio.returns(), periods=365)
    assert portfolio.sharpe_ratio() == pytest.approx(expected, rel=1e-12)
    assert portfolio.stats()["Sharpe Ratio"] == pytest.approx(expected, rel=1e-12)
    assert portfolio.qs.sharpe() == pytest.approx(expected, rel=1e-12)


def test_settings_of_vectorbt_are_left_alone(sp500, target):
    before = vbt.settings["returns"]["year_freq"], vbt.settings["array_wrapper"]["freq"]
    vectorbt_portfolio(sp500, target).stats()
    after = vbt.settings["returns"]["year_freq"], vbt.settings["array_wrapper"]["freq"]
    assert before == after


def test_business_day_frequency_does_not_break_the_stats(simulated):
    bars = simulated.set_axis(pd.bdate_range("2000-01-03", periods=len(simulated)))
    assert bars.index.freq is not None
    assert "Sharpe Ratio" in vectorbt_portfolio(bars, np.ones(len(bars))).stats()


def test_numba_engine_gives_the_same_equity_as_rust(sp500, target):
    rust, numba = (
        vectorbt_portfolio(sp500, target, FEES, SLIPPAGE, engine=engine).value()
        for engine in ("rust", "numba")
    )
    np.testing.assert_allclose(numba, rust, rtol=1e-12)


def test_bankrupt_short_loses_everything_and_stops(crashing):
    portfolio = vectorbt_portfolio(crashing, -np.ones(len(crashing)), FEES, SLIPPAGE)
    np.testing.assert_allclose(
        portfolio.value(), simulate(crashing, -np.ones(len(crashing)), FEES, SLIPPAGE), rtol=1e-9
    )
    assert portfolio.value().min() < 0
    # One sale, one attempt to cover; nothing after.
    assert len(portfolio.orders.records) == 2


def test_grid_of_variants_gives_one_column_each_with_all_the_cash(sp500):
    target = np.column_stack([np.ones(len(sp500)), np.zeros(len(sp500))])
    portfolio = vectorbt_portfolio(sp500, target)
    alone = vectorbt_portfolio(sp500, target[:, 0])
    np.testing.assert_array_equal(portfolio.value().iloc[:, 0], alone.value())
    assert (portfolio.value().iloc[:, 1] == 100_000).all()


def test_assets_are_sleeves_on_the_union_calendar(sp500, nasdaq):
    late = nasdaq[700:3000].drop(nasdaq.index[1000])
    bars = {"sp500": sp500, "nasdaq": late}
    targets = {symbol: POOL["ma_cross"].targets(frame) for symbol, frame in bars.items()}
    portfolio = vectorbt_portfolio(bars, targets, FEES, SLIPPAGE)
    assert list(portfolio.value().columns) == ["sp500", "nasdaq"]
    for symbol, frame in bars.items():
        alone = vectorbt_portfolio(frame, targets[symbol], FEES, SLIPPAGE, cash=50_000).value()
        value = portfolio.value()[symbol]
        np.testing.assert_allclose(value[frame.index], alone, rtol=1e-12)
        assert (value[: frame.index[0]].iloc[:-1] == 50_000).all()
    # Halted and delisted: the last value is carried.
    halted = nasdaq.index[1000]
    assert portfolio.value()["nasdaq"][halted] == portfolio.value()["nasdaq"][nasdaq.index[999]]
    assert portfolio.value()["nasdaq"].iloc[-1] == portfolio.value()["nasdaq"][late.index[-1]]


def test_total_is_the_sum_of_the_sleeves(sp500, nasdaq):
    bars = {"sp500": sp500, "nasdaq": nasdaq[1000:]}
    targets = {symbol: POOL["kdj"].targets(frame) for symbol, frame in bars.items()}
    portfolio = vectorbt_portfolio(bars, targets, FEES, SLIPPAGE)
    total = portfolio.total
    assert isinstance(total, TargetPortfolio)
    np.testing.assert_allclose(total.value(), portfolio.value().sum(axis=1), rtol=1e-12)
    expected = quantstats.stats.sharpe(total.returns(), periods=252)
    assert total.sharpe_ratio() == pytest.approx(expected, rel=1e-12)
    assert total.stats()["Sharpe Ratio"] == pytest.approx(expected, rel=1e-12)


def test_allocation_gives_shares_of_the_cash(sp500, nasdaq):
    bars = {"sp500": sp500, "nasdaq": nasdaq}
    idle = {symbol: np.zeros(len(frame)) for symbol, frame in bars.items()}
    portfolio = vectorbt_portfolio(bars, idle, allocation={"nasdaq": 0.7, "sp500": 0.2})
    assert portfolio.value().iloc[0].to_dict() == pytest.approx({"sp500": 2e4, "nasdaq": 7e4})
    with pytest.raises(ValueError, match="Did you mean 'nasdaq'"):
        vectorbt_portfolio(bars, idle, allocation={"nasdak": 0.5, "sp500": 0.5})
    with pytest.raises(ValueError, match="at most 1"):
        vectorbt_portfolio(bars, idle, allocation={"nasdaq": 0.7, "sp500": 0.7})


def test_targets_that_do_not_fit_the_bars_are_refused(sp500, nasdaq):
    with pytest.raises(ValueError, match=r"shape \(5031,\)"):
        vectorbt_portfolio(sp500, np.ones(7))
    with pytest.raises(ValueError, match=r"in \[-1, 1\]"):
        vectorbt_portfolio(sp500, np.full(len(sp500), 1.5))
    bars = {"sp500": sp500, "nasdaq": nasdaq}
    with pytest.raises(ValueError, match="one target per asset"):
        vectorbt_portfolio(bars, {"sp500": np.ones(len(sp500))})
    with pytest.raises(ValueError, match="Did you mean 'nasdaq'"):
        vectorbt_portfolio(bars, pd.DataFrame(0.0, index=sp500.index, columns=["sp500", "nasdak"]))
    with pytest.raises(TypeError, match="sets 'price' itself"):
        vectorbt_portfolio(sp500, np.ones(len(sp500)), price=sp500["close"])


def test_training_dates_of_a_plan_travel_with_the_portfolio(sp500, target):
    stamped = target.copy()
    stamped.attrs["trained"] = ("1999-01-01", "2004-12-31")
    assert vectorbt_portfolio(sp500, stamped).trained == ("1999-01-01", "2004-12-31")
    assert vectorbt_portfolio(sp500, target).trained is None


def test_grid_of_a_rule_and_two_assets_sums_per_variant(sp500, nasdaq):
    bars = {"sp500": sp500[:800], "nasdaq": nasdaq[300:800]}
    grid = BOLLINGER.run(bars, k=[1.5, 2.0], n=[10, 20], param_product=True).target
    portfolio = vectorbt_portfolio(bars, grid, FEES, SLIPPAGE)
    assert portfolio.value().shape == (800, 8)
    total = portfolio.total
    assert list(total.value().columns.names) == ["bollinger_k", "bollinger_n"]
    both = portfolio.value().T.groupby(level=["bollinger_k", "bollinger_n"]).sum().T
    np.testing.assert_allclose(total.value()[both.columns], both, rtol=1e-12)
    assert (portfolio.value().iloc[0] == 50_000).all()
