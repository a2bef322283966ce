"""PPO (MM-DREX, Appendix D.15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from baselines.baseline import Array
from baselines.reinforcement import Reinforcement, layers
from baselines.vec_env import SeveralAccounts

MEAN = ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net")


@dataclass
class PPO(Reinforcement):
    """Proximal policy optimisation; the action is the mean of its Gaussian, a share in [-1, 1].

    Parameters
    ----------
    n_steps : int
        Bars between two updates, all accounts together.
    batch, entropy, learning_rate : int, float, float
        FinRL's 64, 0.01 and 2.5e-4.
    """

    name = "ppo"

    learning_rate: float = 2.5e-4
    n_steps: int = 2048
    batch: int = 64
    entropy: float = 0.01

    def agent(self, env: SeveralAccounts) -> BaseAlgorithm:
        """Return the untrained agent."""
        widths = [self.hidden, self.hidden]
        return stable_baselines3.PPO(
            "MlpPolicy",
            env,
            learning_rate=self.learning_rate,
            n_steps=max(self.n_steps // self.accounts, 2),
            batch_size=self.batch,
            ent_coef=self.entropy,
            gamma=self.gamma,
            seed=self.seed,
            device="cpu",
            policy_kwargs={"net_arch": widths, "activation_fn": nn.ReLU},
        )

    def act(self, weights: Mapping[str, Array], seen: Array) -> float:
        """Return the mean of the policy, cut to [-1, 1]."""
        return float(np.clip(layers(weights, MEAN, seen)[0], -1.0, 1.0))
