"""SAC (MM-DREX, Appendix D.14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm

from baselines.baseline import Array
from baselines.reinforcement import Reinforcement, layers
from baselines.vec_env import SeveralAccounts

MEAN = ("actor.latent_pi.0", "actor.latent_pi.2", "actor.mu")


@dataclass
class SAC(Reinforcement):
    """Soft actor-critic; the action is tanh of its mean, a share of the capital in [-1, 1].

    Parameters
    ----------
    learning_rate, buffer : float, int
        FinRL's 1e-4 and 100,000 transitions.
    batch : int
    warmup : int
        Bars traded at random before the first update.
    """

    name = "sac"

    # Paper: D.14 prints E[R - alpha H]; SAC maximises the entropy, as stable-baselines3 does.
    learning_rate: float = 1e-4
    buffer: int = 100_000
    batch: int = 256
    warmup: int = 1000

    def agent(self, env: SeveralAccounts) -> BaseAlgorithm:
        """Return the untrained agent."""
        return stable_baselines3.SAC(
            "MlpPolicy",
            env,
            learning_rate=self.learning_rate,
            buffer_size=self.buffer,
            batch_size=self.batch,
            learning_starts=self.warmup,
            gamma=self.gamma,
            seed=self.seed,
            device="cpu",
            policy_kwargs={"net_arch": [self.hidden, self.hidden]},
        )

    def act(self, weights: Mapping[str, Array], seen: Array) -> float:
        """Return tanh of the policy's mean."""
        return float(np.tanh(layers(weights, MEAN, seen)[0]))
