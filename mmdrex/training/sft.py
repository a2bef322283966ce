"""Stage 1: teach the router's adapter the trend of the next window (MM-DREX, "Stage 1").

    windows    labelled on `fit`, chosen on `select`, never across a border   (training.labels)
    samples    charts, series, prompt, JSON answer                             (training.sft_data)
    charts     image tokens once, memory-mapped                                (training.seeing)
    Trainer    router adapter and series projection, on answer tokens only
    at the end the adapter is copied into the four experts; the projection stays as it is

Several processes: ``accelerate launch -m mmdrex.training.sft sft.yaml`` (on CPUs: ``torchrun``).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import TrainerCallback
from transformers.trainer_utils import SchedulerType

from mmdrex.data.splits import asset_class, no_window_message
from mmdrex.errors import one_line
from mmdrex.router.cache import digest
from mmdrex.router.router import ADAPTER, Router
from mmdrex.router.storage import weights_digest
from mmdrex.router.vocabulary import LABELS
from mmdrex.training.answers import AnswerModel, Answers
from mmdrex.training.arguments import given_settings
from mmdrex.training.assets import training_assets
from mmdrex.training.checkpoints import (
    checkpoint_asked,
    code_version,
    copy_adapter,
    push,
    require_checkpoint,
    require_finite,
    require_writable,
    same_run,
    seen_dates,
    write_final,
)
from mmdrex.training.fresh import forget
from mmdrex.training.fusing import fuse
from mmdrex.training.history import earlier_runs
from mmdrex.training.labels import class_balance, labelled_windows
from mmdrex.training.review import apply_review, matched_sentence, matches, read_review
from mmdrex.training.seeing import see
from mmdrex.training.sft_config import SFTConfig, sft_config
from mmdrex.training.sft_data import Sample, trend_samples
from mmdrex.training.sft_trainer import SFTTrainer
from mmdrex.training.trend_evaluation import Evaluation, evaluate

log = logging.getLogger(__name__)

STAGE, NEXT_STAGE = "stage 1", "stage 2"  # the next one starts from this one's experts
RECORDED = (
    "model",
    "stride",
    "window",
    "samples",
    "select_samples",
    "fit_split",
    "select_split",
    "text_weight",
    "anonymous",
    "fresh_start",
    "learning_rate",
    "series_learning_rate",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "optim",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "max_steps",
    "seed",
    "bf16",
)


def split_samples(
    router: Router, assets: Mapping[str, pd.DataFrame], config: SFTConfig, split: str
) -> list[Sample]:
    """Return the samples of a split, so many at random as asked for, reviewed windows first."""
    windows = labelled_windows(assets, split, config.stride, config.window, router.config.lookback)
    if windows.empty:
        raise ValueError(no_window_message(config.window, split, config.data))
    first = np.zeros(len(windows), dtype=bool)
    if config.labels is not None:
        reviewed = read_review(config.labels)
        windows, first = apply_review(windows, reviewed), matches(windows, reviewed)
    limit = {config.select_split: config.select_samples, config.fit_split: config.samples}.get(
        split
    )
    if limit is not None and limit < len(windows):
        rng, rows = np.random.default_rng(config.seed), np.empty(0, dtype=np.int64)
        for part in (np.flatnonzero(first), np.flatnonzero(~first)):
            count = min(limit - len(rows), len(part))
            rows = np.append(rows, rng.choice(part, count, replace=False))
        windows = windows.iloc[np.sort(rows)].reset_index(drop=True)
    log.info("%s: %d windows\n%s", split, len(windows), class_balance(windows["label"]))
    return trend_samples(assets, windows, router.config.lookback, config.anonymous, config.seed)


def train_sft(
    router: Router,
    assets: Mapping[str, pd.DataFrame],
    config: SFTConfig,
    progress: bool = True,
    callbacks: Sequence[TrainerCallback] = (),
) -> SFTTrainer:
    """Train a router in place and write it, with its checkpoints, to ``config.output_dir``.

    Parameters
    ----------
    router : Router
    assets : mapping of str to DataFrame
        Validated bars by symbol.
    config : SFTConfig
        With ``resume_from_checkpoint`` the run goes on where its last whole checkpoint stands.
    progress : bool
    callbacks : sequence of TrainerCallback

    Raises
    ------
    LossError
        If the loss is not a number; the batch lies in the output folder.
    """
    out = Path(str(config.output_dir))
    router.to(config.device)  # before the charts are seen
    start = weights_digest(router.state_dict())
    if config.fresh_start:
        forget(router, config.seed)
    checkpoint = checkpoint_asked(out, config.resume_from_checkpoint)
    with config.main_process_first(desc="seeing charts"):
        fit = split_samples(router, assets, config, config.fit_split)
        select = split_samples(router, assets, config, config.select_split)
        folder = None if config.vision_folder is None else Path(config.vision_folder)
        step = config.train_batch_size * config.world_size
        if len(fit) < step:
            raise ValueError(
                f"{len(fit)} windows are fewer than the {step} of a step; give more prices or "
                "samples, or a smaller per_device_train_batch_size"
            )
        charts = [
            see(router, [one.observation for one in part], folder, progress)
            for part in (fit, select)
        ]
    if not router.config.training:
        fit_scaler(router, fit)
    record = _record(config, fit, select, start)
    if checkpoint is not None:
        same_run(checkpoint, STAGE, record)
    trainable(router)
    if config.fuse:
        fuse(router.backbone.model.language_model.layers)
    before = earlier_runs(router.config.training, (STAGE, NEXT_STAGE))
    router.config.training = {**before, STAGE: record}
    outcomes = [
        (asset_class(assets[one.observation.symbol].index), one.observation.time, one.until)
        for one in (*fit, *select)
    ]
    router.config.trained = seen_dates(outcomes, router.config.trained)
    trainer = SFTTrainer(
        AnswerModel(router, config.text_weight),
        config,
        Answers(router, fit, charts[0]),
        Answers(router, select, charts[1]),
        progress,
        callbacks,
    )
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finish(router, fit, trainer)
    if config.should_save:
        require_finite(router, trainer.state.global_step)
        write_final(router, out)
    if config.push_to_hub and config.should_save:
        push(router, config)
    return trainer


def evaluate_sft(
    router: Router,
    assets: Mapping[str, pd.DataFrame],
    config: SFTConfig,
    split: str = "validation",
    progress: bool = True,
) -> Evaluation:
    """Return a router's figures on a split, against references fitted on ``config.fit_split``."""
    router.to(config.device)
    fit, scored = (
        split_samples(router, assets, config, part) for part in (config.fit_split, split)
    )
    folder = None if config.vision_folder is None else Path(config.vision_folder)
    return evaluate(router, fit, scored, split, config.seed, folder, progress)


def trainable(router: Router) -> None:
    """Let the router's adapter and the series' projection learn, and nothing else."""
    router.requires_grad_(False)
    router.vlm.set_adapter(ADAPTER)
    router.series.project.requires_grad_("T" in router.config.modalities)


def finish(router: Router, fit: list[Sample], trainer: SFTTrainer) -> None:
    """Freeze everything, start the experts as copies, and write down what was learned from."""
    copy_adapter(router)
    router.requires_grad_(False)
    router.eval()
    counts = np.bincount([one.label for one in fit], minlength=len(LABELS))
    history = {
        "prior": dict(zip(LABELS, (counts / counts.sum()).tolist(), strict=True)),
        "steps": trainer.state.global_step,
        "best step": trainer.state.best_global_step,
        "label loss on select": trainer.state.best_metric,
    }
    router.config.training[STAGE] = {**router.config.training[STAGE], **history}
    router.refresh()


def fit_scaler(router: Router, samples: list[Sample]) -> None:
    """Set mean and deviation of the series to those of the samples, all of the training split."""
    series = np.concatenate([one.observation.series for one in samples]).astype(np.float64)
    router.series.mean.copy_(torch.from_numpy(series.mean(axis=0)))
    # A column that never moves stays as it is, at zero.
    router.series.deviation.copy_(torch.from_numpy(np.maximum(series.std(axis=0), 1e-6)))
    router.refresh()


def _record(
    config: SFTConfig, fit: list[Sample], select: list[Sample], start: str
) -> dict[str, Any]:
    """Return what made the router: start, settings, seeds, digests of data, version of the code.

    ``start`` is the digest of the router that the run starts from.
    """
    answers = [f"{one.observation.digest} {one.answer}" for one in (*fit, *select)]
    return {
        **{name: getattr(config, name) for name in RECORDED},
        "start": start,
        "lr_scheduler_type": SchedulerType(config.lr_scheduler_type).value,
        "processes": config.world_size,
        "windows": len(fit),
        "data": digest(*answers),
        "mmdrex": code_version(),
    }


def run(
    config: SFTConfig, progress: bool = True, callbacks: Sequence[TrainerCallback] = ()
) -> SFTTrainer:
    """Train as the settings say: load router and prices, then the labels.

    Raises
    ------
    ValueError
        If the settings name no data.
    """
    if not config.data:
        raise ValueError("data is missing: a folder of prices (CSV), or simulated:40")
    out = Path(str(config.output_dir))
    require_checkpoint(out, config.resume_from_checkpoint)
    if config.should_save:
        require_writable(out)
    reviewed = None if config.labels is None else read_review(config.labels, ["label"])
    assets = training_assets(config.data)
    router = Router.from_pretrained(config.model, seed=config.seed)
    if reviewed is not None:
        splits = (config.fit_split, config.select_split)
        log.info(say_matched(config, reviewed, assets, router.config.lookback, splits))
    return train_sft(router, assets, config, progress, callbacks)


def say_matched(
    config: SFTConfig,
    reviewed: pd.DataFrame,
    assets: Mapping[str, pd.DataFrame],
    lookback: int,
    splits: Sequence[str],
) -> str:
    """Return a sentence on how many reviewed labels belong to windows; refuse them if none does."""
    windows = [
        labelled_windows(assets, split, config.stride, config.window, lookback) for split in splits
    ]
    told = f"{config.data} (splits {' and '.join(splits)}, stride {config.stride})"
    return matched_sentence(str(config.labels), reviewed, windows, told)


def main(arguments: list[str] | None = None) -> None:
    """Train from a YAML file or options: ``python -m mmdrex.training.sft sft.yaml``."""
    given = given_settings(sys.argv[1:] if arguments is None else arguments, SFTConfig)
    config = sft_config(given.pop("output_dir"), **given)
    logging.basicConfig(level=logging.INFO)
    run(config)


if __name__ == "__main__":
    with one_line():
        main()
