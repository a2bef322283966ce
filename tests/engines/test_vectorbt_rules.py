import pickle

import numpy as np
import pandas as pd
import pytest

import mmdrex.engines.vectorbt as engine
from mmdrex.engines.vectorbt import BOLLINGER, vectorbt_portfolio
from strategies import POOL, targets


@pytest.mark.parametrize("name", POOL)
def test_every_rule_is_an_indicator_with_the_rules_targets(sp500, name):
    indicator = getattr(engine, name.upper())
    found = indicator.run(sp500[:800])
    np.testing.assert_array_equal(found.target.iloc[:, 0], targets(name, sp500[:800]))
    assert found.short_name == name


def test_grid_has_a_level_per_parameter_and_the_symbol(sp500):
    grid = BOLLINGER.run(sp500[:600], k=[1.5, 2.0], n=[10, 20], param_product=True).target
    assert list(grid.columns.names) == ["bollinger_k", "bollinger_n", "symbol"]
    assert set(grid.columns) == {(k, n, "sp500") for k in (1.5, 2.0) for n in (10, 20)}
    for k, n, symbol in grid.columns:
        expected = targets("bollinger", sp500[:600], k=k, n=n)
        np.testing.assert_array_equal(grid[k, n, symbol], expected)


def test_run_takes_five_series_as_well_as_bars(sp500):
    bars = sp500[:600]
    series = [bars[name] for name in ("open", "high", "low", "close", "volume")]
    pd.testing.assert_frame_equal(
        BOLLINGER.run(*series, k=[1.5, 2.0]).target, BOLLINGER.run(bars, k=[1.5, 2.0]).target
    )


def test_target_is_unknown_where_an_asset_has_no_bar(sp500, nasdaq):
    bars = {"sp500": sp500[:600], "nasdaq": nasdaq[300:600]}
    target = BOLLINGER.run(bars, k=2.0).target
    own = target.xs("nasdaq", axis=1, level="symbol").iloc[:, 0]
    assert own[:300].isna().all()
    np.testing.assert_array_equal(own[300:], targets("bollinger", bars["nasdaq"], k=2.0))


def test_grid_is_ready_for_a_heatmap(sp500):
    grid = BOLLINGER.run(sp500[:800], k=[1.5, 2.0], n=range(10, 25, 5), param_product=True).target
    sharpe = vectorbt_portfolio(sp500[:800], grid).sharpe_ratio()
    figure = sharpe.vbt.heatmap(x_level="bollinger_k", y_level="bollinger_n", slider_level="symbol")
    assert np.asarray(figure.data[0].z).shape == (3, 2)


def test_misspelt_parameter_is_refused_with_the_likely_name(sp500):
    with pytest.raises(TypeError, match="Did you mean 'n_atr'"):
        BOLLINGER.run(sp500[:600], n_art=[10, 14])


def test_classes_pickle():
    assert pickle.loads(pickle.dumps(BOLLINGER)) is BOLLINGER
