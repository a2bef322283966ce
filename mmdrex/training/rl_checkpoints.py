"""What a checkpoint of the reinforcement stage holds, and who learns in it.

A checkpoint is a saved router, the optimizer's moments in safetensors and, written last, the state
as JSON. Order of the data and draws need no place in it: they follow from seed and update.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import SchedulerType

from mmdrex.data.files import replacing
from mmdrex.router import storage
from mmdrex.router.router import ADAPTER, Router
from mmdrex.training.checkpoints import STATE, code_version, disk_errors, load_weights
from mmdrex.training.episodes import Rows, Schedule
from mmdrex.training.oracle import Oracle
from mmdrex.training.oracle_table import oracle_digest
from mmdrex.training.rl_config import RLConfig

STAGE = "stage 2"
OPTIMIZER = "optimizer.safetensors"
SCHEDULER = "scheduler.json"
Agents = dict[str, dict[str, nn.Parameter]]


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


def forget(router: Router, seed: int) -> None:
    """Make adapters and heads fresh again; backbone, series' projection and scaler stay."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in router.vlm.modules():
            if isinstance(module, LoraLayer):
                for name in (ADAPTER, *router.rules):
                    module.reset_lora_parameters(name, True)  # type: ignore[no-untyped-call]  # PEFT
        router.heads.norm.reset_parameters()
        for layer in router.heads.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
    router.refresh()


def save(
    out: Path,
    router: Router,
    named: Agents,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    state: TrainerState,
    limit: int | None,
) -> None:
    """Write a checkpoint aside and rename it; drop old ones, but never the best."""
    moments: dict[str, torch.Tensor] = {}
    for own in named.values():
        for path, parameter in own.items():
            for name, value in optimizer.state[parameter].items():
                moments[f"{path}|{name}"] = value.detach().cpu().contiguous()
    with disk_errors(out), replacing(out / f"checkpoint-{state.global_step}") as aside:
        aside.mkdir()
        router.refresh()
        storage.write_router(router, aside)
        save_file(moments, aside / OPTIMIZER)
        (aside / SCHEDULER).write_text(json.dumps(_plain(scheduler.state_dict())))
        state.save_to_json(str(aside / STATE))
    if limit is not None:
        steps = sorted(int(path.name.split("-")[1]) for path in out.glob("checkpoint-*"))
        old = [step for step in steps if step != state.best_global_step]
        for step in old[: max(0, len(steps) - max(limit, 1))]:
            if step != state.global_step:
                shutil.rmtree(out / f"checkpoint-{step}")


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of a scheduler's state; its functions come from the settings again."""
    return {name: value for name, value in record.items() if name != "lr_lambdas"}


def load_state(
    checkpoint: Path,
    router: Router,
    named: Agents,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
) -> TrainerState:
    """Set weights, moments and learning rate to those of a checkpoint and return its state."""
    load_weights(router, checkpoint)
    moments = load_file(checkpoint / OPTIMIZER)
    for own in named.values():
        for path, parameter in own.items():
            found = {
                name.split("|")[1]: value
                for name, value in moments.items()
                if name.split("|")[0] == path
            }
            optimizer.state[parameter] = {
                name: value if name == "step" else value.to(parameter.device)
                for name, value in found.items()
            }
    record = json.loads((checkpoint / SCHEDULER).read_text())
    scheduler.load_state_dict({**scheduler.state_dict(), **record})
    for group, rate in zip(optimizer.param_groups, record["_last_lr"], strict=True):
        group["lr"] = rate
    state: TrainerState = TrainerState.load_from_json(str(checkpoint / STATE))
    return state


def run_record(
    router: Router, oracle: Oracle, visits: Schedule, select: Rows, config: RLConfig
) -> dict[str, Any]:
    """Return what makes the router: settings, seeds, digests of data, version of the code."""
    names = (
        *("window", "stride", "costs", "fit_split", "select_split", "max_episodes", "max_steps"),
        *("episode_windows", "update_every", "per_device_train_batch_size", "ppo_epochs"),
        *("router_epochs", "draws", "gamma", "gae_lambda", "clip_epsilon", "alpha_r", "alpha_s"),
        *("beta", "c1", "c2", "c3", "fresh_start", "group_reward", "train_experts"),
        *("train_router", "anonymous", "learning_rate", "heads_learning_rate"),
        *("weight_decay", "max_grad_norm", "seed", "bf16"),
    )
    key = oracle_digest(
        oracle.assets, oracle.pool, oracle.costs, oracle.window, oracle.lookback, oracle.stride
    )
    return {
        **{name: getattr(config, name) for name in names},
        "lr_scheduler_type": SchedulerType(config.lr_scheduler_type).value,
        "modalities": router.config.modalities,
        "processes": config.world_size,
        "windows": len(np.unique(visits.rows)),
        "select windows": len(select),
        "data": key,
        "mmdrex": code_version(),
    }
