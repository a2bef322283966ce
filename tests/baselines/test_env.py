"""The environment: Gymnasium's own checks, and the engines' equity for any actions."""

import warnings

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium.utils.env_checker import check_env

from baselines.env import SIDES, TradingEnv, TradingVectorEnv, market
from baselines.features import feature_windows, lagged_features
from mmdrex.data.simulated import simulated_bars
from mmdrex.engines.vectorbt import vectorbt_portfolio
from mmdrex.observation.features import indicator_table
from mmdrex.observation.series import series

FEES, SLIPPAGE = 0.001, 0.0005


def plain(bars, warmup=3):
    """Return a market that shows the last change of the close, after a few blind bars."""
    seen = np.full((len(bars), 1), np.nan, np.float32)
    seen[warmup:, 0] = bars["close"].pct_change().to_numpy()[warmup:]
    return market({"asset": bars}, {"asset": seen})


def doubling(rows=60):
    """Prices under which a short is bankrupt before it can be closed."""
    close = np.r_[np.linspace(100.0, 90.0, rows // 2), np.linspace(600.0, 30.0, rows // 2)]
    opened = np.r_[100.0, close[:-1]]
    opened[rows // 2] = 580.0
    index = pd.bdate_range("2020-01-01", periods=rows)
    columns = {"open": opened, "high": close * 1.2, "low": close * 0.8, "close": close}
    return pd.DataFrame({**columns, "volume": 1.0}, index)


def equity_of(env, actions):
    """Return the equity at each close of an episode."""
    env.reset(seed=0)
    equity = [1.0]
    for action in actions:
        _, _, ended, truncated, info = env.step(action)
        equity.append(info["equity"])
        if ended or truncated:
            break
    return np.array(equity)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("length", [None, 20])
def test_single_environment_passes_gymnasium_s_checker(discrete, length):
    env = TradingEnv(plain(simulated_bars(1, bars=80)[0]), length, discrete=discrete)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*infinity.*")  # features have no bound
        warnings.filterwarnings("ignore", message=".*not within the observation space.*spec.*")
        warnings.filterwarnings("ignore", message=".*render.*")
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["continuous", "corners", "lazy"])
@pytest.mark.parametrize("prices", ["simulated", "doubling"])
def test_equity_is_vectorbt_s_for_random_actions(seed, kind, prices):
    bars = doubling() if prices == "doubling" else simulated_bars(seed, bars=300)[0]
    random = np.random.default_rng(seed)
    rows = len(bars) - 1 - 3  # the first bar that is seen is row 3, the last takes no action
    actions = (
        random.uniform(-1.0, 1.0, rows) if kind == "continuous" else random.choice(SIDES, rows)
    )
    if kind == "lazy":
        actions = np.repeat(actions, 7)[:rows]
    if prices == "doubling" and seed == 0:
        actions[:] = -1.0
    env = TradingEnv(plain(bars), fees=FEES, slippage=SLIPPAGE)
    equity = equity_of(env, actions)
    target = np.r_[np.zeros(3), actions, 0.0]
    wanted = vectorbt_portfolio(bars, target, FEES, SLIPPAGE, cash=1.0).value().to_numpy()[3:]
    # 1e-9 of the capital: the two sum the same fills in another order.
    np.testing.assert_allclose(equity, wanted[: len(equity)], rtol=1e-9, atol=1e-9)
    assert len(equity) == len(wanted) or equity[-1] <= 0.0


def test_short_that_goes_bankrupt_ends_the_episode():
    env = TradingEnv(plain(doubling()))
    env.reset(seed=0)
    ended = False
    while not ended:
        _, reward, ended, truncated, info = env.step(-1.0)
        assert not truncated
    assert info["equity"] < 0.0
    assert reward == pytest.approx(np.log(0.1))


def test_rewards_add_up_to_the_log_of_the_equity():
    env = TradingEnv(plain(simulated_bars(2, bars=100)[0]), fees=FEES)
    env.reset(seed=0)
    random = np.random.default_rng(0)
    total, over = 0.0, False
    while not over:
        _, reward, ended, truncated, info = env.step(random.uniform(-1.0, 1.0))
        total, over = total + reward, ended or truncated
    assert np.exp(total) == pytest.approx(info["equity"], rel=1e-12)


def test_observation_holds_the_features_of_the_bar_and_the_last_target():
    bars = simulated_bars(3, bars=50)[0]
    env = TradingEnv(plain(bars))
    change = bars["close"].pct_change().to_numpy().astype(np.float32)
    first, _ = env.reset(seed=0)
    assert first.tolist() == [change[3], 0.0]
    second, *_ = env.step(0.5)
    assert second.tolist() == [change[4], 0.5]


def test_many_accounts_are_as_many_single_ones():
    bars = simulated_bars(4, bars=60)[0]
    many = TradingVectorEnv(plain(bars), 3, fees=FEES)
    many.reset(seed=0)
    random = np.random.default_rng(0)
    actions = random.uniform(-1.0, 1.0, (56, 3))
    equity = np.array([many.step(row)[4]["equity"] for row in actions])
    for i in range(3):
        single = equity_of(TradingEnv(plain(bars), fees=FEES), actions[:, i])
        np.testing.assert_array_equal(single[1:], equity[:, i])


def test_ended_episode_gives_its_last_observation_and_starts_anew():
    bars = simulated_bars(5, bars=40)[0]
    env = TradingVectorEnv(plain(bars), 2, length=4)
    assert isinstance(env, gym.vector.VectorEnv)
    env.reset(seed=1)
    for _ in range(4):
        seen, _, ended, truncated, infos = env.step(np.ones((2, 1), np.float32))
    assert truncated.all() and not ended.any()
    assert infos["final_obs"][:, 1].tolist() == [1.0, 1.0]
    assert seen[:, 1].tolist() == [0.0, 0.0]
    assert (env.accounts.equity == 1.0).all()


def test_episodes_start_everywhere_and_stay_inside_their_asset():
    frames = {"one": simulated_bars(6, bars=40)[0], "two": simulated_bars(7, bars=30)[0]}
    seen = {name: np.zeros((len(frame), 1), np.float32) for name, frame in frames.items()}
    env = TradingVectorEnv(market(frames, seen), 500, length=10)
    env.reset(seed=0)
    starts, stops = env.accounts.row, env.accounts.last
    assert set(starts) == {*range(30), *range(40, 60)}
    assert ((starts < 40) == (stops < 40)).all()
    assert (stops - starts == 10).all()


def test_same_seed_gives_the_same_episodes():
    bars = simulated_bars(8, bars=200)[0]
    one, other = (TradingVectorEnv(plain(bars), 8, length=5) for _ in range(2))
    np.testing.assert_array_equal(one.reset(seed=3)[0], other.reset(seed=3)[0])


def test_market_without_warm_bars_is_refused():
    bars = simulated_bars(9, bars=5)[0]
    with pytest.raises(ValueError, match="give more bars"):
        market({"asset": bars}, {"asset": np.full((5, 1), np.nan, np.float32)})


@pytest.mark.parametrize("lookback", [20, 7])
def test_windows_are_the_series_of_the_observation(lookback):
    bars = simulated_bars(10, bars=200)[0]
    windows = feature_windows(bars, lookback)
    assert np.isnan(windows[: 98 + lookback]).all()
    for t in range(98 + lookback, 200):
        np.testing.assert_array_equal(windows[t], series(indicator_table(bars), t, lookback))


def test_features_keep_the_prefix_law():
    bars = simulated_bars(11, bars=300)[0]
    whole = lagged_features(bars)
    for cut in np.random.default_rng(0).choice(np.arange(1, 300), 50, replace=False):
        np.testing.assert_array_equal(lagged_features(bars.iloc[:cut]), whole[:cut])
