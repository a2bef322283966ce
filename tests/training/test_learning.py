import numpy as np
import pytest

from mmdrex.data.regimes import REGIMES
from mmdrex.observation.observation import Observer
from mmdrex.router.router import Router
from mmdrex.training.known_truth import (
    earned,
    experts_reward,
    known_markets,
    only,
    references,
    right_experts,
    series_of,
    told_by,
)
from mmdrex.training.rl import train_rl
from mmdrex.training.rl_config import rl_config

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    counts = {"train": 2, "select": 2, "test": 2}
    return known_markets(counts, 700, 90, seed=7, folder=tmp_path_factory.mktemp("oracle"))


def test_parts_share_no_market_and_cover_all_windows(small):
    asset = np.asarray(small.oracle.windows)[:, 0]
    seen = [set(asset[rows].tolist()) for rows in small.rows.values()]
    assert [len(part) for part in seen] == [2, 2, 2] and len(set.union(*seen)) == 6
    assert sum(len(rows) for rows in small.rows.values()) == len(asset)
    assert len(small.regime) == len(asset) and set(small.regime) <= set(range(len(REGIMES)))


def test_one_expert_with_all_capital_earns_what_the_table_says(small):
    rows = small.rows["test"]
    columns = np.tile(np.array([2, 3, 6, 8]), (len(rows), 1))  # turtle bollinger volume long_only
    alone = experts_reward(small.oracle, rows, columns)
    for expert in range(4):
        weights = np.tile(np.eye(4)[expert], (len(rows), 1))
        assert earned(small.oracle, rows, weights, columns).reward == pytest.approx(
            alone[:, expert], abs=1e-9
        )


def test_the_right_expert_is_the_one_that_earned_most_in_a_regime():
    reward = np.array([[1.0, 0.0], [0.0, 3.0], [2.0, 0.0], [0.0, 1.0], [0.5, 0.4]])
    assert right_experts(reward, np.array([0, 1, 2, 3, 3])).tolist() == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="no window of breakout, position"):
        right_experts(reward, np.array([0, 1, 1, 0, 0]))


def test_scrambling_leaves_one_modality_and_takes_the_others_from_other_markets(small):
    symbol = small.oracle.symbols[0]
    bars = small.oracle.assets[symbol]
    mate = Observer(small.oracle.assets[small.oracle.symbols[1]], symbol)
    own = Observer(bars, symbol).at(288)
    scrambled = only("T", small, seed=1)
    seen, again = scrambled(bars, symbol).at(288), scrambled(bars, symbol).at(288)
    assert seen.digest == again.digest
    assert np.array_equal(seen.series, own.series)
    donors = [mate.at(int(start)) for asset, start in small.oracle.windows if asset == 1]
    assert seen.drawn in {donor.drawn for donor in donors}
    assert seen.text.split("Market:")[-1] != own.text.split("Market:")[-1]


def test_series_of_windows_are_those_of_their_decision_bars(small):
    rows = small.rows["select"][:2]
    number, start = np.asarray(small.oracle.windows)[rows[1]]
    symbol = small.oracle.symbols[number]
    close = small.oracle.assets[symbol]["close"].to_numpy()[start - 99 : start + 1]
    flat = series_of(small, rows)
    assert flat.shape == (2, 1700)
    assert np.allclose(flat[1].reshape(100, 17)[:, 0], close / close[-1] - 1, atol=1e-6)


@pytest.mark.slow
def test_a_router_that_sees_the_series_earns_more_than_uniform_weights_on_unseen_markets(tmp_path):
    # A lower bar than that of benchmarks/learning.py, which sees charts and text as well.
    counts = {"train": 12, "select": 4, "test": 12}
    markets = known_markets(counts, 1500, 45, seed=6, folder=tmp_path)
    router = Router.from_pretrained("tiny", cache=False)
    router.batch = 16
    router.config.trained = {}
    fit = np.isin(np.arange(len(markets.regime)), markets.rows["train"])
    for phase, train_router in (("experts", False), ("all", True)):
        config = rl_config(
            tmp_path / phase,
            max_steps=25,
            modalities="T",
            windows_at_once=16,
            anonymous=True,
            train_router=train_router,
            learning_rate=1e-4 if train_router else 1e-3,
            heads_learning_rate=1e-4 if train_router else 1e-3,
            draws=16,
            router_epochs=4,
            c3=0.02,
            lr_scheduler_type="linear",
            cache_folder=str(tmp_path),
            report_to="none",
        )
        train_rl(router, markets.oracle, fit, markets.rows["select"], config, progress=False)
    told = told_by(router, markets, config)
    weights, test = references(markets, told), markets.rows["test"]
    reward = {
        name: earned(markets.oracle, test, share, told.columns).reward
        for name, share in weights.items()
    }
    gain = reward["router"] - reward["uniform"]
    assert gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain))
    assert reward["router"].mean() > reward["random"].mean()
    assert gain.mean() > 0.25 * (reward["omniscient"] - reward["uniform"]).mean()
