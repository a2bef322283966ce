"""What a checkpoint of the reinforcement stage holds.

A checkpoint is a saved router, what its learner keeps and, written last, the state as JSON. Order
of the data and draws need no place in it: they follow from seed and update.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import SchedulerType

from mmdrex.data.files import replacing
from mmdrex.router import storage
from mmdrex.router.router import Router
from mmdrex.training.checkpoints import (
    STATE,
    checkpoints_by_step,
    code_version,
    disk_errors,
    load_weights,
    require_finite,
)
from mmdrex.training.episodes import Rows, Schedule
from mmdrex.training.learner import Learner
from mmdrex.training.oracle import Oracle
from mmdrex.training.oracle_table import oracle_digest
from mmdrex.training.rl_config import RLConfig

STAGE = "stage 2"
RECORDED = (
    "window",
    "stride",
    "costs",
    "fit_split",
    "select_split",
    "max_episodes",
    "max_steps",
    "episode_windows",
    "update_every",
    "per_device_train_batch_size",
    "ppo_epochs",
    "router_epochs",
    "draws",
    "gamma",
    "gae_lambda",
    "clip_epsilon",
    "alpha_r",
    "alpha_s",
    "beta",
    "c1",
    "c2",
    "c3",
    "fresh_start",
    "group_reward",
    "train_experts",
    "train_router",
    "anonymous",
    "learning_rate",
    "heads_learning_rate",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "save_steps",
    "eval_steps",
    "sharpness",
    "fuse",
    "windows_at_once",
    "seed",
    "bf16",
)


def save(
    out: Path, router: Router, learner: Learner, state: TrainerState, limit: int | None
) -> None:
    """Write a checkpoint aside and rename it; drop old ones, but never the best."""
    require_finite(router, state.global_step)
    with disk_errors(out), replacing(out / f"checkpoint-{state.global_step}") as aside:
        aside.mkdir()
        router.refresh()
        storage.write_router(router, aside)
        learner.save(aside)
        state.save_to_json(str(aside / STATE))
    if limit is not None:
        steps = sorted(checkpoints_by_step(out))
        old = [step for step in steps if step != state.best_global_step]
        for step in old[: max(0, len(steps) - max(limit, 1))]:
            if step != state.global_step:
                shutil.rmtree(out / f"checkpoint-{step}")


def load_state(checkpoint: Path, out: Path, router: Router, learner: Learner) -> TrainerState:
    """Set weights, moments and rates to those of a checkpoint and return its state.

    A best checkpoint that does not lie in ``out``, as where a run goes on in another folder, is
    forgotten, as ``Trainer`` does: the best of those to come is the router.
    """
    load_weights(router, checkpoint)
    learner.load(checkpoint)
    state: TrainerState = TrainerState.load_from_json(str(checkpoint / STATE))
    if state.best_global_step not in checkpoints_by_step(out):
        state.best_metric, state.best_global_step = None, None
    return state


def run_record(
    router: Router, oracle: Oracle, visits: Schedule, select: Rows, config: RLConfig, start: str
) -> dict[str, Any]:
    """Return what makes the router: start, settings, seeds, digests of data, version of the code.

    ``start`` is the digest of the router that the run starts from.
    """
    key = oracle_digest(
        oracle.assets, oracle.pool, oracle.costs, oracle.window, oracle.lookback, oracle.stride
    )
    return {
        **{name: getattr(config, name) for name in RECORDED},
        "start": start,
        "lr_scheduler_type": SchedulerType(config.lr_scheduler_type).value,
        "modalities": router.config.modalities,
        "processes": config.world_size,
        "windows": len(np.unique(visits.rows)),
        "select windows": len(select),
        "data": key,
        "mmdrex": code_version(),
    }
