"""What SAC, PPO and DQN share: the environment, the checkpoint chosen on ``select``, its file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from baselines.baseline import Array, Baseline, Frames, outcome_rows, training_dates
from baselines.env import SIDES, TradingVectorEnv, market
from baselines.features import lagged_features, warm_rows
from baselines.vec_env import SeveralAccounts
from mmdrex.engines.guard import simulate

Features = NDArray[np.float32]

WEIGHTS = "model.safetensors"
LAGS = (0, 1, 2, 5, 10)
CLIP = 5.0  # deviations; a feature beyond them says no more


@dataclass
class Reinforcement(Baseline):
    """Base of the agents: they see lagged features of Table 12 and the target asked for last.

    Of the checkpoints taken on the way the one with the highest total log growth on ``select`` is
    kept, at the costs it was trained at.

    Parameters
    ----------
    steps : int
        Bars traded in training, all accounts together.
    checkpoints : int
    accounts : int
        Traded side by side.
    length : int
        Bars of an episode.
    hidden : int
        Width of both layers of the policy.
    gamma : float
        Discount of a bar.
    fees, slippage : float
        Fractions of the traded value and of the price.
    """

    learns = True
    discrete: ClassVar[bool] = False

    steps: int = 100_000
    checkpoints: int = 10
    accounts: int = 8
    length: int = 250
    hidden: int = 64
    gamma: float = 0.99
    learning_rate: float = 3e-4
    fees: float = 0.0
    slippage: float = 0.0
    seed: int = 42

    @abstractmethod
    def agent(self, env: SeveralAccounts) -> BaseAlgorithm:
        """Return the untrained agent of stable-baselines3."""

    @abstractmethod
    def act(self, weights: Mapping[str, Array], seen: Array) -> float:
        """Return the target in [-1, 1] of an observation (d + 1,): what the policy finds best."""

    def features(self, bars: pd.DataFrame) -> Features:
        """Return what is seen of the bars, shape (T, d), NaN until warm; not standardised."""
        return lagged_features(bars, LAGS)

    def fit(self, train: Frames, select: Frames) -> Self:
        """Train the agent; see ``Baseline.fit``."""
        raw = {symbol: self.features(bars) for symbol, bars in train.items()}
        warm = np.concatenate([seen[warm_rows(seen)] for seen in raw.values()])
        if not len(warm):
            raise ValueError(f"{self.name}: no bar to learn from; MA100 needs more rows than these")
        deviation = warm.std(axis=0)
        self.mean = warm.mean(axis=0)
        self.deviation = np.where(deviation > 0.0, deviation, 1.0).astype(np.float32)
        seen = {symbol: self._standardised(values) for symbol, values in raw.items()}
        traded = TradingVectorEnv(
            market(train, seen), self.accounts, self.length, self.fees, self.slippage, self.discrete
        )
        with torch.random.fork_rng(devices=[]):
            agent = self.agent(SeveralAccounts(traded, self.seed))
            kept = _Best(
                lambda weights: sum(
                    self._growth(weights, bars, train.get(symbol))
                    for symbol, bars in select.items()
                ),
                max(self.steps // self.checkpoints, 1),
            )
            agent.learn(self.steps, callback=kept)
        self.weights = kept.weights
        self.trained = training_dates(train, select)
        return self

    def decide(self, bars: pd.DataFrame) -> Array:
        """Return the policy's best target bar by bar; 0 until the features are warm."""
        self.require_fitted()
        return self._decide(self.weights, bars)

    def files(self) -> dict[str, bytes]:
        """Return policy, mean and deviation as safetensors."""
        if self.trained is None:
            return {}
        scale = {"mean": self.mean, "deviation": self.deviation}
        arrays = {**self.weights, **scale}
        return {WEIGHTS: save({k: torch.tensor(array) for k, array in arrays.items()})}

    def restore(self, learned: dict[str, Any], folder: Path) -> None:
        """Take back the policy."""
        tensors = load((folder / WEIGHTS).read_bytes())
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        self.mean, self.deviation = arrays.pop("mean"), arrays.pop("deviation")
        self.weights = arrays

    def _standardised(self, features: Features) -> Features:
        scaled: Features = ((features - self.mean) / self.deviation).clip(-CLIP, CLIP)
        return scaled

    def _decide(self, weights: Mapping[str, Array], bars: pd.DataFrame) -> Array:
        features = self._standardised(self.features(bars))
        targets, before = np.zeros(len(bars)), 0.0
        for row in np.flatnonzero(warm_rows(features)):
            # One row at a time, as the next observation holds this target.
            before = self.act(weights, np.append(features[row], np.float32(before)))
            targets[row] = before
        return targets

    def _growth(
        self, weights: Mapping[str, Array], bars: pd.DataFrame, train: pd.DataFrame | None
    ) -> float:
        target = np.where(outcome_rows(bars, train), self._decide(weights, bars), 0.0)
        equity = simulate(bars, target, self.fees, self.slippage, 1.0)[-1]
        return float(np.log(max(equity, 1e-6)))


class _Best(BaseCallback):
    """Keeps the policy that scores best, of one every ``every`` bars and the last."""

    def __init__(self, score: Callable[[dict[str, Array]], float], every: int) -> None:
        super().__init__()
        self._score, self._every = score, every
        self._due, self._highest = every, -np.inf
        self.weights: dict[str, Array] = {}

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._due:
            self._due += self._every
            self._take()
        return True

    def _on_training_end(self) -> None:
        self._take()

    def _take(self) -> None:
        weights = current_policy(self.model)
        score = self._score(weights)
        if score > self._highest:
            self._highest, self.weights = score, weights


def current_policy(agent: BaseAlgorithm) -> dict[str, Array]:
    """Return a copy of the agent's networks as arrays by name."""
    state = agent.policy.state_dict()
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in state.items()}


def layers(weights: Mapping[str, Array], prefixes: tuple[str, ...], seen: Array) -> Array:
    """Return the output of linear layers with ReLU between them; numpy is faster for one row."""
    values = seen
    for prefix in prefixes[:-1]:
        hidden = weights[f"{prefix}.weight"] @ values + weights[f"{prefix}.bias"]
        values = np.maximum(hidden, 0.0)
    last = prefixes[-1]
    result: Array = weights[f"{last}.weight"] @ values + weights[f"{last}.bias"]
    return result


def side(scores: Array) -> float:
    """Return the target of the best of the actions short, flat, long."""
    return float(SIDES[int(np.argmax(scores))])
