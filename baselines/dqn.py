"""DQN (MM-DREX, Appendix D.16)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm

from baselines.baseline import Array
from baselines.reinforcement import Reinforcement, layers, side
from baselines.vec_env import SeveralAccounts

VALUES = ("q_net.q_net.0", "q_net.q_net.2", "q_net.q_net.4")


@dataclass
class DQN(Reinforcement):
    """A deep Q-network; its actions are short, flat and long.

    Parameters
    ----------
    buffer, batch : int
        Transitions kept, and of an update.
    warmup : int
        Bars traded at random before the first update.
    """

    name = "dqn"
    discrete = True

    learning_rate: float = 1e-4
    buffer: int = 100_000
    batch: int = 64
    warmup: int = 1000

    def agent(self, env: SeveralAccounts) -> BaseAlgorithm:
        """Return the untrained agent."""
        return stable_baselines3.DQN(
            "MlpPolicy",
            env,
            learning_rate=self.learning_rate,
            buffer_size=self.buffer,
            batch_size=self.batch,
            learning_starts=self.warmup,
            train_freq=1,
            target_update_interval=max(2000 // self.accounts, 1) * self.accounts,
            exploration_fraction=0.3,
            gamma=self.gamma,
            seed=self.seed,
            device="cpu",
            policy_kwargs={"net_arch": [self.hidden, self.hidden]},
        )

    def act(self, weights: Mapping[str, Array], seen: Array) -> float:
        """Return the side with the highest value."""
        return side(layers(weights, VALUES, seen))
