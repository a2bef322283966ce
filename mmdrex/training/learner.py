"""Who learns in stage 2, at what rates, and how that is kept between two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import get_scheduler

from mmdrex.router.router import ADAPTER, Router
from mmdrex.training.rl_config import RLConfig
from mmdrex.training.run_states import (
    load_optimizer,
    load_scheduler,
    save_optimizer,
    save_scheduler,
)

Agents = dict[str, dict[str, nn.Parameter]]


class Learner(NamedTuple):
    """The agents' parameters, AdamW and the course of its rates."""

    named: Agents
    optimizer: torch.optim.Optimizer
    scheduler: Any

    @classmethod
    def of(cls, router: Router, updates: int, config: RLConfig) -> Learner:
        """Return the learner of a whole run; all else in the router is frozen."""
        named = agents(router, config.train_router, config.train_experts)
        optimizer = torch.optim.AdamW(
            _groups(named, config),
            config.learning_rate,
            (config.adam_beta1, config.adam_beta2),
            config.adam_epsilon,
            config.weight_decay,
        )
        passes = {True: config.router_epochs, False: config.ppo_epochs}
        epochs = max(passes[name == ADAPTER] for name in named)
        steps = updates * config.update_every * epochs
        scheduler = get_scheduler(
            config.lr_scheduler_type,
            optimizer,
            config.get_warmup_steps(steps),
            steps,
            config.lr_scheduler_kwargs,  # type: ignore[arg-type]  # text is read by transformers
        )
        return cls(named, optimizer, scheduler)

    def save(self, folder: Path) -> None:
        """Write moments and rates."""
        save_optimizer(self.optimizer, folder)
        save_scheduler(self.scheduler, folder)

    def load(self, folder: Path) -> None:
        """Set moments and rates to those kept in a folder."""
        load_optimizer(self.optimizer, folder)
        load_scheduler(self.scheduler, folder)


def agents(router: Router, train_router: bool, train_experts: bool) -> Agents:
    """Return who learns: agent to its parameters by name, adapter and heads; all else is frozen."""
    router.requires_grad_(False)
    names = [ADAPTER] * train_router + list(router.rules) * train_experts
    named: Agents = {name: {} for name in names}
    for path, parameter in router.named_parameters():
        parts = path.split(".")
        if parts[0] == "vlm" and "lora_" in path:
            owner = next(part for part in parts if part in (ADAPTER, *router.rules))
        elif parts[0] == "heads":
            owner = parts[2] if parts[1] in ("policies", "values") else ADAPTER
        else:
            continue
        if owner in named:
            parameter.requires_grad_(True)
            named[owner][path] = parameter
    return named


def _groups(named: Agents, config: RLConfig) -> list[dict[str, Any]]:
    """Return the adapters' parameters, then the heads', with the rate of each."""
    learning = [item for own in named.values() for item in own.items()]
    heads = [parameter for path, parameter in learning if path.startswith("heads.")]
    adapters = [parameter for path, parameter in learning if not path.startswith("heads.")]
    rate = config.heads_learning_rate
    return [
        {"params": adapters},
        {"params": heads, "lr": config.learning_rate if rate is None else rate},
    ]
