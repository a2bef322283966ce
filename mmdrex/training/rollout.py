"""What acting in a few windows of many episodes gave: draws, rewards, advantages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from mmdrex.training.episodes import Schedule
from mmdrex.training.losses import advantages, base_reward, behaviours, group_reward
from mmdrex.training.trunks import Look

if TYPE_CHECKING:
    from mmdrex.router.router import Router
    from mmdrex.training.oracle import Oracle
    from mmdrex.training.rl_config import RLConfig

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


class Rewards:
    """The base reward (eq. 12) of every rule in every window, and the behaviour each showed.

    Parameters
    ----------
    router : Router
        Whose experts the rules belong to.
    oracle : Oracle
    config : RLConfig
    """

    def __init__(self, router: Router, oracle: Oracle, config: RLConfig) -> None:
        self.base: Array = base_reward(
            oracle.figure("excess"),
            oracle.figure("sharpe"),
            oracle.figure("drawdown"),
            config.alpha_r,
            config.alpha_s,
        )  # (N, R)
        self.shown = behaviours(oracle.figure("mean_target"))  # (N, R)
        self.columns = [
            np.array([oracle.rules.index(rule) for rule in rules], dtype=np.int64)
            for rules in router.rules.values()
        ]  # expert -> its columns of the table

    def chosen(self, actions: Rows) -> Rows:
        """Return the table's columns (M, K) of the experts' actions (M, K)."""
        return np.stack([own[actions[:, k]] for k, own in enumerate(self.columns)], axis=1)


class Rollout(NamedTuple):
    """N = S x B windows, step by step, each acted in D times.

    What is done in a window does not change the next: an episode lived D times over is read once.
    """

    rows: Rows  # (N,) of the oracle's table
    actions: Rows  # (N, D, K) which of its rules each expert chose
    log_policy: Array  # (N, D, K) log-probability with which it was drawn
    advantage: Array  # (N, D, K) standardised per expert
    returned: Array  # (N, D, K)
    weights: Array  # (N, D, K) drawn for the experts
    reward: Array  # (N, D) R of eq. 5
    baseline: Array  # (N, D) b of eq. 5


def visited(steps: Schedule) -> list[int]:
    """Return the rows that a rollout must look at: those traded, then those that follow it."""
    return list(dict.fromkeys([*steps.rows.ravel().tolist(), *steps.following[-1].tolist()]))


def roll_out(
    rewards: Rewards,
    steps: Schedule,
    rows: list[int],
    seen: Look,
    config: RLConfig,
    kappa: float,
    rng: np.random.Generator,
) -> Rollout:
    """Return what the policies drew in each window of ``steps`` and what it earned.

    Parameters
    ----------
    rewards : Rewards
    steps : Schedule of S steps of B episodes
    rows : list of int
        What ``visited`` says.
    seen : Look
        At those rows.
    config : RLConfig
    kappa : float
        Concentration of the router's Dirichlet.
    rng : Generator
    """
    places = {row: place for place, row in enumerate(rows)}
    # D lives of every episode lie side by side, as D times as many episodes would.
    lives = np.repeat(np.arange(steps.rows.shape[1]), config.draws)
    traded, following, ends = steps.rows[:, lives], steps.following[:, lives], steps.ends[:, lives]
    shape = traded.shape  # (S, B x D)
    now = np.array([places[row] for row in traded.ravel().tolist()])
    then = np.array([places[row] for row in following.ravel().tolist()])
    traded = traded.ravel()
    count = len(traded)
    logs = [log_softmax(logits[now], axis=1) for logits in seen.policies]
    actions = _draw(logs, rng) if config.train_experts else _likeliest(logs)
    log_policy = np.stack([log[np.arange(count), actions[:, k]] for k, log in enumerate(logs)], 1)
    earned = rewards.base[traded[:, None], rewards.chosen(actions)]  # (N, K), eq. 12
    total = earned
    if config.group_reward:
        shown = [rewards.shown[traded[:, None], own] for own in rewards.columns]
        total = earned + group_reward([np.exp(log) for log in logs], shown, actions, config.beta)
    # eq. 5's R_i is eq. 12 only: the group reward never reaches the router.
    alpha = 1.0 + kappa * softmax(seen.weights[now], axis=1)
    weights = rng.standard_gamma(alpha)
    weights = np.maximum(weights / weights.sum(axis=1, keepdims=True), 1e-12)
    # Paper silent: b(s). The oracle knows what each expert earned, so the reward of the mean
    # weights serves, the least noisy baseline that does not depend on the weights drawn.
    mean = alpha / alpha.sum(axis=1, keepdims=True)
    gains = np.empty_like(total)
    returned = np.empty_like(total)
    for k in range(total.shape[1]):
        gain, back = advantages(
            total[:, k].reshape(shape),
            seen.values[now, k].reshape(shape),
            seen.values[then, k].reshape(shape),
            ends,
            config.gamma,
            config.gae_lambda,
        )
        # Paper silent: advantages are standardised over the rollout, as PPO is used.
        gains[:, k] = ((gain - gain.mean()) / (gain.std() + 1e-8)).ravel()
        returned[:, k] = back.ravel()
    each = (steps.rows.size, config.draws, -1)
    return Rollout(
        steps.rows.ravel(),
        actions.reshape(each),
        log_policy.reshape(each),
        gains.reshape(each),
        returned.reshape(each),
        weights.reshape(each),
        (weights * earned).sum(axis=1).reshape(each[:2]),
        (mean * earned).sum(axis=1).reshape(each[:2]),
    )


def _draw(logs: list[Array], rng: np.random.Generator) -> Rows:
    """Return one action per row and expert, drawn from its policy."""
    draws = rng.random((len(logs[0]), len(logs)))
    below = [np.cumsum(np.exp(log), axis=1)[:, :-1] for log in logs]
    columns = [(draws[:, k, None] >= edges).sum(axis=1) for k, edges in enumerate(below)]
    return np.stack(columns, axis=1).astype(np.int64)


def _likeliest(logs: list[Array]) -> Rows:
    return np.stack([log.argmax(axis=1) for log in logs], axis=1).astype(np.int64)
