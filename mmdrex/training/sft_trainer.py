"""transformers' ``Trainer`` with router folders as checkpoints and the labels as its figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from mmdrex.errors import LossError
from mmdrex.router import storage
from mmdrex.training import run_states
from mmdrex.training.answers import AnswerModel, Answers, Collator
from mmdrex.training.checkpoints import disk_errors, keep_batch, load_weights, require_finite
from mmdrex.training.sft_config import SFTConfig
from mmdrex.training.trend_scores import balanced_accuracy, confusion_matrix

SHOWN = {"loss": "loss", "eval_label_loss": "select", "eval_balanced_accuracy": "balanced"}


class _Figures(ProgressCallback):
    """A progress bar with the figures that matter, in place of a line per log."""

    def __init__(self) -> None:
        super().__init__()
        self.figures: dict[str, str] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show what was logged behind the bar."""
        if self.training_bar is not None and logs:
            found = {SHOWN[name]: f"{value:.3f}" for name, value in logs.items() if name in SHOWN}
            self.figures |= found
            self.training_bar.set_postfix(self.figures)


def label_figures(prediction: EvalPrediction) -> dict[str, float]:
    """Return mean negative log-likelihood, accuracy and balanced accuracy of labels' logits."""
    logits, label = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    probabilities = log_softmax(logits.astype(np.float64), axis=1)
    counts = confusion_matrix(label, logits.argmax(axis=1))
    return {
        "label_loss": float(-probabilities[np.arange(len(label)), label].mean()),
        "accuracy": float(np.trace(counts) / counts.sum()),
        "balanced_accuracy": float(balanced_accuracy(counts)),
    }


class SFTTrainer(Trainer):
    """Trains ``AnswerModel``; a checkpoint is a saved router beside Trainer's own state.

    Parameters
    ----------
    model : AnswerModel
    config : SFTConfig
    fit, select : Answers
        Windows learned from and windows the checkpoint is chosen on.
    progress : bool
        Show a progress bar.
    callbacks : sequence of TrainerCallback

    Raises
    ------
    ValueError
        If weights are sharded: a checkpoint holds whole ones.
    """

    def __init__(
        self,
        model: AnswerModel,
        config: SFTConfig,
        fit: Answers,
        select: Answers,
        progress: bool = True,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        config.disable_tqdm = True  # the bar is ours
        pad = model.router.processor.tokenizer.pad_token_id
        super().__init__(
            model=model,
            args=config,
            data_collator=Collator(pad),
            train_dataset=fit,
            eval_dataset=select,
            compute_metrics=label_figures,
            callbacks=[*([_Figures()] if progress else []), *callbacks],
        )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError("stage 1 keeps no sharded weights; train without FSDP and DeepSpeed")
        self.router = model.router
        self.series_learning_rate = config.series_learning_rate
        self.remove_callback(PrinterCallback)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Return every window of `select`: none is left out there."""
        self.args.dataloader_drop_last, dropped = False, self.args.dataloader_drop_last
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = dropped

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the optimizer, with the series' projection at a rate of its own if it has one."""
        made = self.optimizer is not None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        rate = self.series_learning_rate
        if not made and rate is not None:
            series = {id(parameter) for parameter in self.router.series.parameters()}
            for group in list(optimizer.param_groups):
                own = [one for one in group["params"] if id(one) in series]
                group["params"] = [one for one in group["params"] if id(one) not in series]
                if own:
                    optimizer.add_param_group({**group, "params": own, "lr": rate})
        return optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss; stop where it is not a number, with the batch kept."""
        outputs = model(**inputs)
        loss = outputs["loss"]
        if not torch.isfinite(loss):
            step = self.state.global_step
            path = Path(str(self.args.output_dir)) / f"bad_batch_{step}.safetensors"
            keep_batch(inputs, path)
            raise LossError(
                f"the loss is {loss.item()} at step {step}; its batch is kept in {path}. A "
                "smaller learning rate or max_grad_norm helps, or float32 in place of bf16"
            )
        return (loss, outputs) if return_outputs else loss

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make no repository: the finished router goes to the hub, with its card, and makes it."""

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Push no checkpoint."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write the router's own files."""
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        if self.args.should_save:
            storage.write_router(self.router, folder)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        require_finite(self.router, self.state.global_step)
        with disk_errors(Path(str(self.args.output_dir))):
            super()._save_checkpoint(model, trial)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Write moments and rates; ``Trainer`` would pickle them."""
        if self.args.should_save:
            run_states.save_optimizer(self.optimizer, Path(output_dir))
            run_states.save_scheduler(self.lr_scheduler, Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            run_states.load_optimizer(self.optimizer, Path(checkpoint))
            run_states.load_scheduler(self.lr_scheduler, Path(checkpoint))

    def _save_scaler(self, output_dir: str) -> None:
        """Write the scale of float16's gradients, where there is one."""
        if self.accelerator.scaler is not None and self.args.should_save:
            record = json.dumps(self.accelerator.scaler.state_dict())
            (Path(output_dir) / run_states.SCALER).write_text(record, encoding="utf-8")

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self.accelerator.scaler is not None:
            record = (Path(checkpoint) / run_states.SCALER).read_text(encoding="utf-8")
            self.accelerator.scaler.load_state_dict(json.loads(record))

    def _save_rng_state(self, output_dir: str) -> None:
        """Write the random states of this process; the checkpoint is whole with all of them."""
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)  # another process makes the rest of it
        run_states.save_random_states(folder, self.args.process_index)
        self.accelerator.wait_for_everyone()

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            run_states.load_random_states(Path(checkpoint), self.args.process_index)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        load_weights(self.router, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        best = self.state.best_model_checkpoint
        if best is not None:
            load_weights(self.router, Path(best))
