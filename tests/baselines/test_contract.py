"""What every baseline promises, whatever it trades."""

import json

import numpy as np
import pandas as pd
import pytest

import baselines
from baselines import BASELINES
from baselines.backtrader import STRATEGIES
from mmdrex.engines.backtrader import make_cerebro
from mmdrex.engines.strategy_run import equity_of
from mmdrex.engines.vectorbt import vectorbt_portfolio

RULES = ["buy_and_hold", "macd", "kdj_rsi", "cr", "bbi", "wr", "bias"]
TABLE_2 = [*RULES, "lgbm", "lstm", "transformer", "sac", "ppo", "dqn", "finagent", "finmem"]
CUTS = 50


def test_names_stand_in_the_order_of_table_2():
    assert list(BASELINES) == [*TABLE_2, "llmoe"]


def test_contract_is_checked_for_every_baseline(quick):
    assert list(quick) == list(BASELINES) == list(STRATEGIES)


def test_prefix_law_holds_at_fifty_cuts(fitted, bars):
    whole = fitted.targets(bars).to_numpy()
    late = np.random.default_rng(0).choice(np.arange(60, len(bars)), CUTS - 4, replace=False)
    for cut in (1, 2, 25, 59, *late):
        np.testing.assert_array_equal(fitted.targets(bars.iloc[:cut]).to_numpy(), whole[:cut])


def test_targets_lie_in_range_on_the_index_of_the_bars(fitted, bars):
    target = fitted.targets(bars)
    assert isinstance(target, pd.Series)
    assert target.index.equals(bars.index)
    assert target.dtype == np.float64
    assert (target.abs() <= 1.0).all()


def test_bars_are_left_as_they_were(fitted, bars):
    before = bars.copy()
    fitted.targets(bars)
    pd.testing.assert_frame_equal(bars, before)


def test_same_settings_and_seed_give_the_same_targets(fitted, market, bars):
    again = type(fitted).with_settings(**fitted.settings).fit(*market)
    np.testing.assert_array_equal(again.targets(bars), fitted.targets(bars))


# LightGBM's seed decides nothing as long as it samples neither rows nor features.
@pytest.mark.parametrize("name", ["lstm", "transformer", "sac", "ppo", "dqn", "finmem", "llmoe"])
def test_another_seed_gives_another_model(name, quick, market):
    one, other = (
        BASELINES[name].with_settings(**quick[name], seed=seed).fit(*market).files()
        for seed in (1, 2)
    )
    assert one.keys() == other.keys() and one != other


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finagent", "finmem", "llmoe"])
def test_prefix_law_holds_for_agents_that_decide_every_week(name, quick, market, bars):
    agent = BASELINES[name].with_settings(**{**quick[name], "every": 5}).fit(*market)
    whole = agent.targets(bars).to_numpy()
    assert len(np.unique(whole)) > 1
    cuts = np.random.default_rng(1).choice(np.arange(199, len(bars)), CUTS, replace=False)
    for cut in cuts:
        np.testing.assert_array_equal(agent.targets(bars.iloc[:cut]).to_numpy(), whole[:cut])


def test_saved_baseline_is_loaded_with_equal_targets(fitted, bars, tmp_path):
    fitted.save(tmp_path / "saved")
    loaded = baselines.load(tmp_path / "saved")
    assert type(loaded) is type(fitted)
    assert loaded.settings == fitted.settings
    assert loaded.trained == fitted.trained
    np.testing.assert_array_equal(loaded.targets(bars), fitted.targets(bars))


def test_nothing_that_is_saved_is_a_pickle(fitted, tmp_path):
    fitted.save(tmp_path / "saved")
    kinds = {path.suffix for path in (tmp_path / "saved").iterdir()}
    assert kinds <= {".json", ".safetensors", ".txt", ".sqlite"}


def test_both_engines_have_the_same_equity_on_every_bar(fitted, bars):
    costs = {"fees": 0.001, "slippage": 0.0005}
    cerebro = make_cerebro(bars, **costs)
    cerebro.addstrategy(STRATEGIES[fitted.name], model=fitted)
    value = vectorbt_portfolio(bars, fitted.targets(bars), **costs).value()
    # 1e-9: the two sum the same fills in another order.
    np.testing.assert_allclose(equity_of(cerebro), value, rtol=1e-9)
    assert np.ptp(value) > 0.0  # it has traded


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_few_bars_give_a_target_for_each(fitted, bars, rows):
    assert fitted.targets(bars.iloc[:rows]).shape == (rows,)


def test_unknown_setting_is_answered_with_a_near_one():
    with pytest.raises(TypeError, match="Did you mean 'fast'"):
        BASELINES["macd"].with_settings(fats=3)


def test_period_of_zero_bars_is_refused():
    with pytest.raises(ValueError, match="n must be positive"):
        BASELINES["wr"](n=0)


def test_setting_of_another_type_is_refused():
    with pytest.raises(TypeError, match="n must be of type int, not 'two'"):
        BASELINES["wr"].with_settings(n="two")


def test_folder_without_a_baseline_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"baseline\.json"):
        baselines.load(tmp_path)


@pytest.mark.parametrize("text", ["no json", "[]", "{}"])
def test_broken_record_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "baseline.json").write_text(text)
    with pytest.raises(ValueError, match=r"baseline\.json"):
        baselines.load(tmp_path)


def test_record_of_an_unknown_baseline_is_answered_with_a_near_one(tmp_path):
    BASELINES["macd"]().save(tmp_path / "saved")
    record = json.loads((tmp_path / "saved" / "baseline.json").read_text())
    (tmp_path / "saved" / "baseline.json").write_text(json.dumps({**record, "baseline": "mcad"}))
    with pytest.raises(ValueError, match="Did you mean 'macd'"):
        baselines.load(tmp_path / "saved")


def test_baseline_is_not_loaded_as_another(tmp_path):
    BASELINES["macd"]().save(tmp_path / "saved")
    with pytest.raises(ValueError, match="holds 'macd', not 'bbi'"):
        BASELINES["bbi"].load(tmp_path / "saved")
