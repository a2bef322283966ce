"""The Gymnasium environment of the reinforcement-learning baselines, single and vectorised.

An action is a target: a share of the capital in [-1, 1], or short, flat, long. It is decided at
the close of a bar and filled at the next open by the engines' own functions (``account``), so the
equity is that of backtrader and vectorbt for any sequence of actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pandas as pd
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from baselines.account import advance, observe, open_accounts, start_account

Float32 = NDArray[np.float32]
Information = dict[str, Any]

SIDES = np.array([-1.0, 0.0, 1.0])  # the targets of the discrete actions


class Market(NamedTuple):
    """Bars of several assets, one after the other; R rows in all."""

    open: NDArray[np.float64]  # (R,)
    close: NDArray[np.float64]  # (R,)
    features: Float32  # (R, d)
    first: NDArray[np.int64]  # (A,), the first row with all features known
    last: NDArray[np.int64]  # (A,)


def market(frames: Mapping[str, pd.DataFrame], features: Mapping[str, Float32]) -> Market:
    """Return the market of some assets and what is seen of them.

    Parameters
    ----------
    frames : mapping of str to DataFrame of shape (T, 5)
    features : mapping of str to ndarray of shape (T, d)
        Row t is known after the close of bar t; NaN in the first rows, until it is warm.

    Raises
    ------
    ValueError
        If no asset has two warm bars.
    """
    opened, closed, seen, first, last = [], [], [], [], []
    rows = 0
    for symbol, frame in frames.items():
        warm = np.flatnonzero(np.isfinite(features[symbol]).all(axis=1))
        if len(warm) < 2:
            continue
        opened.append(frame["open"].to_numpy(dtype=np.float64))
        closed.append(frame["close"].to_numpy(dtype=np.float64))
        seen.append(np.asarray(features[symbol], dtype=np.float32))
        first.append(rows + warm[0])
        rows += len(frame)
        last.append(rows - 1)
    if not first:
        raise ValueError("no asset has two bars on which all features are known; give more bars")
    return Market(
        np.concatenate(opened),
        np.concatenate(closed),
        np.concatenate(seen),
        np.array(first, dtype=np.int64),
        np.array(last, dtype=np.int64),
    )


def _spaces(width: int, discrete: bool) -> tuple[gym.spaces.Box, gym.Space[Any]]:
    seen = gym.spaces.Box(-np.inf, np.inf, (width + 1,), np.float32)
    acted: gym.Space[Any] = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    return seen, gym.spaces.Discrete(len(SIDES)) if discrete else acted


class TradingVectorEnv(VectorEnv[Any, Any, Any]):
    """N accounts that trade episodes of a market, moved together.

    Parameters
    ----------
    market : Market
    number : int
        N, accounts.
    length : int, optional
        Bars of an episode, which starts at a random warm bar of a random asset; without it an
        episode is the whole of one asset.
    fees, slippage : float
        Fractions of the traded value and of the price.
    discrete : bool
        Whether actions are 0, 1, 2 (short, flat, long) and not shares.

    Notes
    -----
    The reward is the log growth of the equity. An episode is truncated on its last bar and
    terminated when nothing is left of the equity; the next one starts in the same step.
    """

    def __init__(
        self,
        market: Market,
        number: int = 1,
        length: int | None = None,
        fees: float = 0.0,
        slippage: float = 0.0,
        discrete: bool = False,
    ) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.market, self.length, self.discrete = market, length, discrete
        self.costs = (fees, slippage)
        self.num_envs = number
        self.single_observation_space, self.single_action_space = _spaces(
            market.features.shape[1], discrete
        )
        self.observation_space = batch_space(self.single_observation_space, number)
        self.action_space = batch_space(self.single_action_space, number)
        self.accounts = open_accounts(number)

    def reset(
        self, *, seed: int | None = None, options: Information | None = None
    ) -> tuple[Float32, Information]:
        """Start an episode in every account; return observations (N, d + 1) and nothing else."""
        super().reset(seed=seed)
        self._start(np.arange(self.num_envs))
        return self._observations(), {}

    def step(
        self, actions: Any
    ) -> tuple[Float32, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Information]:
        """Trade one target per account over the next bar.

        Returns
        -------
        observations, rewards, terminations, truncations, infos
            ``infos["equity"]`` (N,) is from a start of 1. Where an episode ended, the observation
            is the next one's first, and ``infos["final_obs"]`` holds the last of the old.
        """
        given = np.asarray(actions).reshape(self.num_envs)
        target = SIDES[given] if self.discrete else np.clip(given.astype(np.float64), -1.0, 1.0)
        rewards = np.empty(self.num_envs)
        ended = np.empty(self.num_envs, dtype=np.bool_)
        accounts = self.accounts
        advance(self.market.open, self.market.close, accounts, target, *self.costs, rewards, ended)
        truncated = (accounts.row >= accounts.last) & ~ended
        infos: Information = {"equity": accounts.equity.copy()}
        observations = self._observations()
        over = np.flatnonzero(ended | truncated)
        if len(over):
            infos["final_obs"], infos["_final_obs"] = observations, ended | truncated
            self._start(over)
            observations = self._observations()
        return observations, rewards, ended, truncated, infos

    def _observations(self) -> Float32:
        observations = np.empty((self.num_envs, self.market.features.shape[1] + 1), np.float32)
        observe(self.market.features, self.accounts, observations)
        return observations

    def _start(self, which: NDArray[np.int64]) -> None:
        asset = self.np_random.integers(len(self.market.first), size=len(which))
        first, last = self.market.first[asset], self.market.last[asset]
        if self.length is not None:
            spare = np.maximum(last - first - self.length, 0)
            first = first + self.np_random.integers(spare + 1)
            last = np.minimum(first + self.length, last)
        start_account(self.accounts, which, first, last)


class TradingEnv(gym.Env[Any, Any]):
    """One account: what ``TradingVectorEnv`` is for many, with the same parameters."""

    def __init__(
        self,
        market: Market,
        length: int | None = None,
        fees: float = 0.0,
        slippage: float = 0.0,
        discrete: bool = False,
    ) -> None:
        self._vector = TradingVectorEnv(market, 1, length, fees, slippage, discrete)
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space

    def reset(
        self, *, seed: int | None = None, options: Information | None = None
    ) -> tuple[Float32, Information]:
        """Start an episode; return the observation (d + 1,) and nothing else."""
        super().reset(seed=seed)
        self._vector.np_random = self.np_random
        observations, information = self._vector.reset()
        return observations[0], information

    def step(self, action: Any) -> tuple[Float32, float, bool, bool, Information]:
        """Trade a target over the next bar; ``info["equity"]`` is from a start of 1."""
        seen, rewards, ended, truncated, infos = self._vector.step(np.asarray(action).reshape(1))
        over = bool(ended[0] or truncated[0])
        observation = infos["final_obs"][0] if over else seen[0]
        equity = {"equity": float(infos["equity"][0])}
        return observation, float(rewards[0]), bool(ended[0]), bool(truncated[0]), equity
