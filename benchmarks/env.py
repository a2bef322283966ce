"""Time the vectorised environment beside the same trading written as a plain gym loop.

    python benchmarks/env.py [--accounts 1024] [--seconds 3]

One core. Both trade random targets of the same simulated market, with costs, and must end with the
same equity: the plain environment is one account in Python, as most trading environments are.
"""

from __future__ import annotations

import argparse
import time

import gymnasium as gym
import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)

from baselines.env import TradingEnv, TradingVectorEnv, market
from baselines.features import lagged_features
from mmdrex.data.simulated import simulated_bars

GOAL = 200_000.0
FEES, SLIPPAGE = 0.001, 0.0005


class PlainEnv(gym.Env):
    """One account, bar by bar, in Python; without the equity guard, which costs nothing here."""

    def __init__(self, bars, features, first):
        self.open, self.close = bars["open"].to_numpy(), bars["close"].to_numpy()
        self.features, self.first = features, first
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (features.shape[1] + 1,))
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        """Start with a cash of 1."""
        super().reset(seed=seed)
        self.row, self.cash, self.position, self.target = self.first, 1.0, 0.0, 0.0
        return self._seen(), {}

    def _seen(self):
        return np.append(self.features[self.row], np.float32(self.target))

    def step(self, action):
        """Trade one target."""
        target = float(action[0])
        before = self.cash + self.position * self.close[self.row]
        self.row += 1
        price = self.open[self.row]
        if target != self.target:
            size = target * (self.cash + self.position * price) / price - self.position
            side = np.sign(size)
            self.cash -= size * price * (1.0 + side * SLIPPAGE) * (1.0 + side * FEES)
            self.position += size
            self.target = target
        equity = self.cash + self.position * self.close[self.row]
        over = self.row == len(self.close) - 1
        return self._seen(), float(np.log(equity / before)), False, over, {"equity": equity}


def plain_speed(env, actions, seconds):
    """Return the steps per second of one account, and its equity per bar of the first episode."""
    env.reset(seed=0)
    equity, steps, start = [], 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        env.reset()
        for action in actions:
            *_, over, info = env.step(action)
            steps += 1
            if steps <= len(actions):
                equity.append(info["equity"])
            if over:
                break
    return steps / (time.perf_counter() - start), np.array(equity)


def vector_speed(env, seconds):
    """Return the steps per second of all accounts together, random actions counted."""
    random = np.random.default_rng(0)
    actions = random.uniform(-0.9, 0.9, (64, env.num_envs, 1)).astype(np.float32)
    env.reset(seed=0)
    env.step(actions[0])  # compiles, or loads numba's cache
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for action in actions:
            env.step(action)
        steps += actions.shape[0] * env.num_envs
    return steps / (time.perf_counter() - start)


def main():
    """Print the speeds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    bars, _ = simulated_bars(42, bars=2000)
    features = lagged_features(bars)
    traded = market({"asset": bars}, {"asset": features})
    first = int(traded.first[0])
    actions = np.random.default_rng(1).uniform(-0.9, 0.9, (len(bars) - 1 - first, 1))
    slow, equity = plain_speed(PlainEnv(bars, features, first), actions, arguments.seconds)
    single = TradingEnv(traded, fees=FEES, slippage=SLIPPAGE)
    one, same = plain_speed(single, actions, arguments.seconds)
    np.testing.assert_allclose(same, equity, rtol=1e-9)
    fast = vector_speed(
        TradingVectorEnv(traded, arguments.accounts, 250, FEES, SLIPPAGE), arguments.seconds
    )
    print(f"{features.shape[1]} features; same equity on every bar")
    print(f"plain loop             {slow:12,.0f} steps/s")
    print(f"ours, one account      {one:12,.0f} steps/s")
    print(
        f"ours, {arguments.accounts:5d} accounts   {fast:12,.0f} steps/s, {fast / slow:.0f} x plain"
    )
    print(f"goal of {GOAL:,.0f} {'reached' if fast >= GOAL else 'missed'}")


if __name__ == "__main__":
    main()
