"""Rewards, advantages and losses of the reinforcement stage (MM-DREX, eqs. 5 and 8 to 13).

Losses come per sample: their mean is the expectation of the paper, however a batch is cut up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Dirichlet

Array = NDArray[np.float64]

LONG, FLAT, SHORT = 0, 1, 2  # what a rule showed in a window
NET = 0.1  # Paper silent: mean target beyond which a window counts as net long or net short
EPSILON = 0.05  # inside both logarithms of eq. 13, so that an action never taken costs no infinity


# -- rewards ------------------------------------------------------------------------------------


def base_reward(
    excess: ArrayLike,
    sharpe: ArrayLike,
    drawdown: ArrayLike,
    alpha_r: float = 1.0,
    alpha_s: float = 0.5,
) -> Array:
    """Return the base reward of eq. 12, element by element.

    Parameters
    ----------
    excess : array_like
        Total return over that of buying and holding, a fraction.
    sharpe : array_like
        Annualised; 0 at zero volatility.
    drawdown : array_like
        Positive fraction; its weight is 1.
    alpha_r, alpha_s : float
        Paper silent: 1 and 0.5, and f = g = tanh.
    """
    returned = alpha_r * np.tanh(np.asarray(excess, dtype=np.float64))
    risk = alpha_s * np.tanh(np.asarray(sharpe, dtype=np.float64))
    return np.asarray(returned + risk - np.asarray(drawdown, dtype=np.float64))


def behaviours(mean_target: ArrayLike) -> NDArray[np.int64]:
    """Return ``LONG``, ``FLAT`` or ``SHORT`` per mean target of a window."""
    mean = np.asarray(mean_target, dtype=np.float64)
    return np.where(mean > NET, LONG, np.where(mean < -NET, SHORT, FLAT)).astype(np.int64)


def group_reward(
    policies: Sequence[Array],
    shown: Sequence[NDArray[np.int64]],
    actions: NDArray[np.int64],
    beta: float = 0.005,
) -> Array:
    """Return the group reward of eq. 13 for each expert, shape (B, K).

    Paper: experts have disjoint actions, so the others' policy of an action would be 0. They are
    compared on what all share: the behaviour that a rule showed in the window. An expert's policy
    over behaviours is the sum over its rules.

    Parameters
    ----------
    policies : sequence of K ndarray of shape (B, rules of the expert)
        The policies that acted.
    shown : sequence of K ndarray of int of the same shapes
        The behaviour of each rule.
    actions : ndarray of int of shape (B, K)
        Which of its rules each expert chose.
    beta : float
        Paper silent: 0.005, below the entropy's weight.
    """
    rows = np.arange(len(actions))
    over = np.zeros((len(policies), len(actions), 3))
    for expert, (policy, behaviour) in enumerate(zip(policies, shown, strict=True)):
        for which in (LONG, FLAT, SHORT):
            over[expert, :, which] = np.where(behaviour == which, policy, 0.0).sum(axis=1)
    reward = np.empty(actions.shape)
    for expert in range(len(policies)):
        chosen = shown[expert][rows, actions[:, expert]]
        own = over[expert, rows, chosen]
        others = np.delete(over, expert, axis=0)[:, rows, chosen].mean(axis=0)  # pi_-i
        reward[:, expert] = beta * (np.log(own + EPSILON) - np.log(others + EPSILON))
    return reward


def advantages(
    rewards: Array,
    values: Array,
    next_values: Array,
    ends: NDArray[np.bool_],
    gamma: float = 0.99,
    lambda_: float = 0.95,
) -> tuple[Array, Array]:
    """Return advantages and returns by generalised advantage estimation.

    Parameters
    ----------
    rewards, values, next_values : ndarray of shape (S, B)
        Of S steps of B episodes side by side; ``next_values`` are of the states that follow.
    ends : ndarray of bool of shape (S, B)
        Where an episode ends: nothing follows, and the next step is another episode's first.
    gamma, lambda_ : float
        Discount, and how far errors of later steps reach back.

    Returns
    -------
    advantages, returns : ndarray of shape (S, B)
        A_t and G_t = A_t + V(s_t).
    """
    gains = np.zeros_like(rewards)
    later = np.zeros(rewards.shape[1])
    for step in reversed(range(len(rewards))):
        goes_on = ~ends[step]
        error = rewards[step] + gamma * goes_on * next_values[step] - values[step]
        later = error + gamma * lambda_ * goes_on * later
        gains[step] = later
    return gains, gains + values


# -- losses -------------------------------------------------------------------------------------


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy of each row's softmax, eq. 10, in nats: (B,) from (B, actions)."""
    log_policy = torch.log_softmax(logits, dim=-1)
    return -(log_policy.exp() * log_policy).sum(dim=-1)


def clipped(
    log_policy: torch.Tensor,
    old_log_policy: torch.Tensor,
    advantage: torch.Tensor,
    epsilon: float = 0.15,
) -> torch.Tensor:
    """Return PPO's clipped objective of each sample, eq. 9; to be maximised."""
    ratio = (log_policy - old_log_policy).exp()
    kept = ratio.clamp(1.0 - epsilon, 1.0 + epsilon)
    return torch.minimum(ratio * advantage, kept * advantage)


def expert_loss(
    logits: torch.Tensor,
    value: torch.Tensor,
    action: torch.Tensor,
    old_log_policy: torch.Tensor,
    advantage: torch.Tensor,
    returned: torch.Tensor,
    epsilon: float = 0.15,
    c1: float = 0.5,
    c2: float = 0.01,
) -> torch.Tensor:
    """Return minus the objective of eq. 8 for each sample, shape (B,).

    Parameters
    ----------
    logits : tensor of shape (B, rules)
    value, old_log_policy, advantage, returned : tensor of shape (B,)
        V(s), the log-probability with which the action was drawn, A and G.
    action : tensor of int of shape (B,)
    epsilon : float
        How far the ratio may leave 1.
    c1, c2 : float
        Weights of the value's loss and of the entropy.
    """
    log_policy = torch.log_softmax(logits, dim=-1).gather(-1, action[:, None])[:, 0]
    gain = clipped(log_policy, old_log_policy, advantage, epsilon)
    return -(gain - c1 * (value - returned).square() + c2 * entropy(logits))


def concentration(logits: torch.Tensor, kappa: float = 10.0) -> torch.Tensor:
    """Return the Dirichlet's parameters (B, K), ``1 + kappa * softmax``.

    Paper: eq. 5 needs log pi(w), but a softmax has no spread. The mode of this Dirichlet is the
    softmax of eq. 4, which is what inference uses.
    """
    return 1.0 + kappa * torch.softmax(logits, dim=-1)


def router_loss(
    logits: torch.Tensor,
    weights: torch.Tensor,
    reward: torch.Tensor,
    baseline: torch.Tensor,
    kappa: float = 10.0,
    c3: float = 0.01,
) -> torch.Tensor:
    """Return the loss of eq. 5 for each sample, shape (B,).

    Parameters
    ----------
    logits, weights : tensor of shape (B, K)
        f(s), and the weights drawn for it.
    reward, baseline : tensor of shape (B,)
        Sum of the weights times the experts' base rewards, and b(s).
    kappa : float
        How closely draws surround the softmax.
    c3 : float
        Weight of the Dirichlet's entropy.
    """
    policy = Dirichlet(concentration(logits, kappa), validate_args=False)
    gain = (reward - baseline) * policy.log_prob(weights) + c3 * policy.entropy()
    loss: torch.Tensor = -gain
    return loss
