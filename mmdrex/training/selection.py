"""How a checkpoint does on the windows it is chosen by: decisions as at inference, blends exact."""

from __future__ import annotations

import numpy as np
from scipy.special import entr, softmax

from mmdrex.training.losses import base_reward
from mmdrex.training.oracle import Oracle
from mmdrex.training.rl_config import RLConfig
from mmdrex.training.rollout import Rewards, Rows
from mmdrex.training.trunks import Look


def select_figures(
    oracle: Oracle, rewards: Rewards, rows: Rows, seen: Look, config: RLConfig
) -> dict[str, float]:
    """Return the mean reward of the router's blends, that of uniform weights, and entropies.

    Parameters
    ----------
    oracle : Oracle
    rewards : Rewards
    rows : ndarray of int of shape (M,)
        Windows of the oracle's table.
    seen : Look
        At those windows.
    config : RLConfig
    """
    actions = np.stack([logits.argmax(axis=1) for logits in seen.policies], axis=1)
    columns = rewards.chosen(actions)
    weights = softmax(seen.weights, axis=1)
    figures: dict[str, float] = {}
    for name, split in (("", weights), ("uniform_", np.full_like(weights, 1 / weights.shape[1]))):
        earned = oracle.blend(rows, split, columns)
        reward = base_reward(
            earned.excess, earned.sharpe, earned.drawdown, config.alpha_r, config.alpha_s
        )
        figures[f"select_{name}reward"] = float(reward.mean())
        figures[f"select_{name}sharpe"] = float(earned.sharpe.mean())
    figures["select_weights_entropy"] = float(entr(weights).sum(axis=1).mean())
    for expert in range(actions.shape[1]):
        share = np.bincount(actions[:, expert]) / len(actions)
        figures[f"select_choices_entropy_{expert}"] = float(entr(share).sum())
    return figures


def sharpest(
    oracle: Oracle, rewards: Rewards, rows: Rows, seen: Look, config: RLConfig
) -> tuple[float, float]:
    """Return the one of ``config.sharpness`` times which the logits earn most, and that reward.

    Of equals the first. Parameters as for ``select_figures``.
    """

    def reward(factor: float) -> float:
        scaled = seen._replace(weights=factor * seen.weights)
        return select_figures(oracle, rewards, rows, scaled, config)["select_reward"]

    earned = {factor: reward(factor) for factor in config.sharpness}
    best = max(earned, key=lambda factor: earned[factor])
    return best, earned[best]
