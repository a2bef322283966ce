"""One update: passes of PPO for the experts and of eq. 5 for the router over a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import reduce
from numpy.typing import NDArray
from torch import nn

from mmdrex.errors import LossError
from mmdrex.router.heads import Outputs
from mmdrex.router.router import ADAPTER, Router
from mmdrex.training.checkpoints import keep_batch
from mmdrex.training.learner import Agents, Learner
from mmdrex.training.losses import expert_loss, router_loss
from mmdrex.training.rl_config import RLConfig
from mmdrex.training.rollout import Rollout
from mmdrex.training.trunks import Trunks, by_length, outputs

Rows = NDArray[np.int64]


def autocast(config: RLConfig) -> torch.autocast:
    """Return the precision that the settings ask for."""
    return torch.autocast(config.device.type, torch.bfloat16, enabled=bool(config.bf16))


def learn(
    router: Router,
    trunks: Trunks,
    rollout: Rollout,
    learner: Learner,
    config: RLConfig,
    rng: np.random.Generator,
    update: int,
) -> dict[str, float]:
    """Pass over the rollout, batch by batch, and return the mean losses."""
    count = len(rollout.rows)
    size = config.per_device_train_batch_size * config.world_size
    losses: list[float] = []
    for epoch in range(max(config.ppo_epochs, config.router_epochs)):
        active = [
            name
            for name in learner.named
            if epoch < (config.router_epochs if name == ADAPTER else config.ppo_epochs)
        ]
        order = rng.permutation(count)
        if not active:
            continue
        for start in range(0, count, size):
            samples = order[start : start + size]
            learner.optimizer.zero_grad(set_to_none=True)
            loss = _backward(router, trunks, rollout, samples, active, config)
            loss = _summed({name: learner.named[name] for name in active}, loss, config.world_size)
            if not np.isfinite(loss):
                said = f"the loss is {loss}"
                raise LossError(_keep(rollout, samples, said, update, config))
            norms = [
                nn.utils.clip_grad_norm_(list(learner.named[name].values()), config.max_grad_norm)
                for name in active
            ]
            if not np.isfinite(steepest := max(float(norm) for norm in norms)):
                said = f"the gradient's norm is {steepest}"
                raise LossError(_keep(rollout, samples, said, update, config))
            learner.optimizer.step()
            learner.scheduler.step()
            losses.append(loss)
    return {
        "loss": float(np.mean(losses)),
        "learning_rate": float(learner.scheduler.get_last_lr()[0]),
    }


def _backward(
    router: Router,
    trunks: Trunks,
    rollout: Rollout,
    samples: Rows,
    active: Sequence[str],
    config: RLConfig,
) -> float:
    """Add this process's share of a batch's gradient and return its share of the mean loss."""
    mine = samples[config.process_index :: config.world_size]
    total = 0.0
    with autocast(config):  # as the rollout read them: a resumed run repeats their bits
        read = [trunks(row) for row in rollout.rows[mine].tolist()]
    for group, trunk in by_length(read, config.windows_at_once):
        places = mine[group]
        with autocast(config):
            told = outputs(router, trunk, active)
        loss = _samples_loss(router, told, rollout, places, active, config).sum() / len(samples)
        loss.backward()
        total += float(loss.detach())
    return total


def _samples_loss(
    router: Router,
    told: Outputs,
    rollout: Rollout,
    places: Rows,
    active: Sequence[str],
    config: RLConfig,
) -> torch.Tensor:
    """Return the loss (n,) of windows of the rollout: over agents the sum, over draws the mean.

    A window is read once, whatever was drawn in it.
    """
    draws = rollout.weights.shape[1]

    def drawn(values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(values[places]).flatten(0, 1).to(router.device)

    def tensor(values: NDArray[np.float64]) -> torch.Tensor:
        return drawn(values).float()

    def said(read: torch.Tensor) -> torch.Tensor:
        return read.float().repeat_interleave(draws, dim=0)

    loss = torch.zeros(len(places) * draws, device=router.device)
    for k, name in enumerate(router.rules):
        if name in active:
            loss = loss + expert_loss(
                said(told.policies[name]),
                said(told.values[name]),
                drawn(rollout.actions[:, :, k]),
                tensor(rollout.log_policy[:, :, k]),
                tensor(rollout.advantage[:, :, k]),
                tensor(rollout.returned[:, :, k]),
                config.clip_epsilon,
                config.c1,
                config.c2,
            )
    if ADAPTER in active:
        loss = loss + router_loss(
            said(told.weights),
            tensor(rollout.weights),
            tensor(rollout.reward),
            tensor(rollout.baseline),
            router.config.kappa,
            config.c3,
        )
    over_draws: torch.Tensor = loss.unflatten(0, (-1, draws)).mean(dim=1)
    return over_draws


def _summed(named: Agents, loss: float, processes: int) -> float:
    """Sum gradients and loss over the processes, so that all take the same step."""
    if processes == 1:
        return loss
    parameters = [parameter for own in named.values() for parameter in own.values()]
    flat = torch.cat(
        [
            *(
                torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
                for p in parameters
            ),
            torch.tensor([loss], device=parameters[0].device),
        ]
    )
    flat = reduce(flat, "sum")
    start = 0
    for parameter in parameters:
        stop = start + parameter.numel()
        parameter.grad = flat[start:stop].view_as(parameter).clone()
        start = stop
    return float(flat[-1])


def _keep(rollout: Rollout, samples: Rows, what: str, update: int, config: RLConfig) -> str:
    """Keep the batch that gave no finite number and return what to say."""
    path = Path(str(config.output_dir)) / f"bad_batch_{update}.safetensors"
    if config.should_save:
        batch = {
            name: torch.from_numpy(np.ascontiguousarray(part[samples]))
            for name, part in rollout._asdict().items()
        }
        keep_batch(batch, path)
    return (
        f"{what} at update {update}; its batch is kept in {path}. A smaller learning "
        "rate or max_grad_norm helps, or float32 in place of bf16"
    )
