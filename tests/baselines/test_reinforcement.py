"""SAC, PPO and DQN solve a market whose best return is known."""

import numpy as np
import pandas as pd
import pytest

from baselines import BASELINES
from baselines.reinforcement import current_policy
from mmdrex.engines.guard import simulate

AGENTS = ["sac", "ppo", "dqn"]
PERIOD = 20  # bars
# A wave needs no long view: a small discount factor and few steps keep the test short.
QUICK = {"gamma": 0.5, "checkpoints": 5, "hidden": 32, "seed": 1}
SETTINGS = {
    "sac": {"steps": 16_000, "accounts": 8, "learning_rate": 1e-3, "batch": 128},
    "ppo": {"steps": 40_000, "accounts": 8, "learning_rate": 1e-3, "n_steps": 1024},
    "dqn": {"steps": 24_000, "accounts": 8, "learning_rate": 1e-3},
}


def sine(rows):
    """Return bars whose log close is a sine, each opening at the close before."""
    close = 100.0 * np.exp(0.1 * np.sin(2.0 * np.pi * np.arange(rows) / PERIOD))
    opened = np.r_[close[0], close[:-1]]
    columns = {
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
        "volume": 1e6,
    }
    return pd.DataFrame(columns, pd.bdate_range("2000-01-03", periods=rows))


def growth(bars, target, start):
    """Return the log growth of trading a target from row ``start`` on."""
    held = np.where(np.arange(len(bars)) >= start, target, 0.0)
    return np.log(simulate(bars, held, cash=1.0)[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_sine_is_traded_at_eighty_percent_of_the_optimum(name):
    bars = sine(900)
    model = BASELINES[name].with_settings(**QUICK, **SETTINGS[name])
    model.fit({"sine": bars.iloc[:500]}, {"sine": bars.iloc[:700]})
    # The best side is the sign of the next change: it is filled at the close it is decided on.
    # Trading fractions can do a little better still: it keeps the size of a short at the equity's.
    best = np.sign(np.diff(bars["close"], append=bars["close"].iloc[-1]))
    assert growth(bars, model.targets(bars), 700) >= 0.8 * growth(bars, best, 700)


@pytest.mark.parametrize("name", AGENTS)
def test_policy_in_numpy_is_the_one_of_stable_baselines3(name, market):
    settings = {"steps": 64, "checkpoints": 1, "hidden": 8, "warmup": 32, "n_steps": 64}
    known = BASELINES[name]().settings
    model = BASELINES[name](**{k: v for k, v in settings.items() if k in known})
    agents = []
    made = model.agent
    model.agent = lambda env: agents.append(made(env)) or agents[0]
    model.fit(*market)
    seen = np.random.default_rng(0).normal(size=(50, 86)).astype(np.float32)
    wanted, _ = agents[0].predict(seen, deterministic=True)
    weights = current_policy(agents[0])
    given = [model.act(weights, row) for row in seen]
    np.testing.assert_allclose(given, wanted.ravel() - 1.0 * model.discrete, atol=1e-5)


@pytest.mark.parametrize("name", AGENTS)
def test_unfitted_agent_says_so(name, market):
    with pytest.raises(ValueError, match="learned nothing yet"):
        BASELINES[name]().targets(market[1]["SIM"])
