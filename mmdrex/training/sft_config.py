"""Settings of the supervised stage: the paper's values, each with its sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from mmdrex.data.splits import SPLITS, require_apart
from mmdrex.training.arguments import backbone_of, checked_settings, require_reporters
from mmdrex.training.labels import STRIDE
from mmdrex.training.sft_data import ANONYMOUS
from strategies.rule import did_you_mean

# What trains a tiny, where it is not the paper's. Its adapters are small, and a CPU
# computes bfloat16 in half the time. Stage 0 taught its backbone to read charts, not to write: the
# text's loss, many times the label's, would drown it. Windows overlap by four fifths, so that a
# random quarter of them is enough. Stage 0 taught its series projection, which the adapter's rate
# (the shipped tiny's) moves by a quarter of its norm.
TINY: dict[str, Any] = {
    "learning_rate": 1e-3,
    "series_learning_rate": 3e-5,
    "text_weight": 0.01,
    "samples": 6000,
    "bf16": True,
}
# Settings of ``TrainingArguments`` that would break this stage.
UNUSED = ("label_smoothing_factor", "neftune_noise_alpha", "remove_unused_columns")
METRICS = ("label_loss", "loss", "accuracy", "balanced_accuracy")  # of `select`


@dataclass
class SFTConfig(TrainingArguments):
    """Settings of the supervised stage; every argument of ``TrainingArguments`` works as well."""

    data: str = field(
        default="",
        metadata={"help": "Folder of CSV prices, or simulated:COUNT for that many markets."},
    )
    model: str = field(
        default="tiny",
        metadata={"help": "Where training starts: tiny, a router's folder, or a Qwen2.5-VL."},
    )
    labels: str | None = field(
        default=None, metadata={"help": "Reviewed labels (mmdrex label import) used in place."}
    )
    stride: int = field(
        default=STRIDE,
        metadata={"help": "Bars between windows; not in the paper, whose counts imply about 16."},
    )
    window: int = field(default=90, metadata={"help": "Bars of the outcome; the paper's 90 days."})
    fresh_start: bool = field(
        default=False,
        metadata={"help": "Forget adapters and heads first; so does the embedded tiny, trained."},
    )
    samples: int | None = field(
        default=None, metadata={"help": "Train on so many windows drawn at random; None: all."}
    )
    select_samples: int | None = field(
        default=512, metadata={"help": "Choose on so many windows drawn at random; None: all."}
    )
    fit_split: str = field(
        default="fit",
        metadata={"help": "Split trained on; the paper's 60 percent less its last year."},
    )
    select_split: str = field(
        default="select",
        metadata={"help": "Split the checkpoint is chosen on: the last year of training."},
    )
    text_weight: float = field(
        default=0.1,
        metadata={"help": "Weight of the answer as text, beside 1 for the label among the three."},
    )
    anonymous: float = field(
        default=ANONYMOUS, metadata={"help": "Share of prompts without symbol and price level."}
    )
    vision_folder: str | None = field(
        default=None, metadata={"help": "Where image tokens are kept; the user's cache."}
    )
    fuse: bool = field(
        default=False,
        metadata={"help": "Fuse MLPs and norms: half the time on a CPU; needs a C++ compiler."},
    )
    learning_rate: float = field(
        default=3e-5, metadata={"help": "Peak of AdamW's rate; the paper's 3e-5."}
    )
    series_learning_rate: float | None = field(
        default=None,
        metadata={"help": "Its peak for the series' projection; None: learning_rate."},
    )
    per_device_train_batch_size: int = field(
        default=16, metadata={"help": "Windows a step and device; the paper's 16."}
    )
    max_grad_norm: float = field(
        default=0.5, metadata={"help": "Largest gradient norm; the paper's 0.5."}
    )
    seed: int = field(default=42, metadata={"help": "Of order, dropout, samples; the paper's 42."})
    num_train_epochs: float = field(
        default=1.0, metadata={"help": "Passes over the windows, which overlap; not in the paper."}
    )
    lr_scheduler_type: str = field(
        default="cosine", metadata={"help": "Fall of the learning rate; not in the paper."}
    )
    warmup_steps: float = field(
        default=0.05, metadata={"help": "Share of the steps that it rises; not in the paper."}
    )
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW's; not in the paper."})
    per_device_eval_batch_size: int = field(
        default=32, metadata={"help": "Windows a step when the checkpoint is chosen."}
    )
    eval_strategy: str = field(
        default="steps", metadata={"help": "When the labels of `select` are scored."}
    )
    eval_steps: float | None = field(
        default=200, metadata={"help": "Steps between two scorings of `select`."}
    )
    save_strategy: str = field(default="steps", metadata={"help": "When a checkpoint is kept."})
    save_steps: float = field(default=200, metadata={"help": "Steps between two checkpoints."})
    save_total_limit: int | None = field(
        default=2, metadata={"help": "Checkpoints kept: the best and the last."}
    )
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "Keep the checkpoint with the least loss on `select`."}
    )
    metric_for_best_model: str | None = field(
        default="label_loss", metadata={"help": "Mean negative log-likelihood of the labels."}
    )
    greater_is_better: bool | None = field(
        default=False, metadata={"help": "A loss: less is better."}
    )
    logging_steps: float = field(default=10, metadata={"help": "Steps between two log lines."})
    report_to: list[str] | str | None = field(
        default="none", metadata={"help": "Trackers, such as tensorboard or wandb."}
    )
    dataloader_drop_last: bool = field(
        default=True,
        metadata={"help": "Leave out an epoch's last few windows: any number of processes agrees."},
    )
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Fixed: the batches are not a table of columns."}
    )

    def __post_init__(self) -> None:
        """Check what no run could use."""
        saved, scored = (
            str(getattr(when, "value", when)) for when in (self.save_strategy, self.eval_strategy)
        )
        if self.load_best_model_at_end and saved != scored and saved != "best":
            raise ValueError(
                "the best checkpoint is one that was scored: save_strategy and eval_strategy must "
                f"be the same, not {saved} and {scored}; or set load_best_model_at_end: false"
            )
        super().__post_init__()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        # Started plainly it takes one GPU, as stage 2 does; no DataParallel.
        self._n_gpu = min(self.n_gpu, 1)
        self.label_names = ["label"]
        for name in ("fit_split", "select_split"):
            if getattr(self, name) not in SPLITS:
                raise ValueError(
                    f"no split {getattr(self, name)!r}; there are {', '.join(SPLITS)}."
                    + did_you_mean(getattr(self, name), SPLITS)
                )
        require_reporters(self.report_to)
        unused = [name for name in UNUSED if getattr(self, name)]
        if unused:
            raise ValueError(f"stage 1 has no use for {', '.join(unused)}; leave them out")
        if self.num_train_epochs <= 0.0 and self.max_steps < 1:
            raise ValueError(f"num_train_epochs must be above 0, not {self.num_train_epochs}")
        metric = str(self.metric_for_best_model).removeprefix("eval_")
        if self.load_best_model_at_end and metric not in METRICS:
            raise ValueError(
                f"no metric_for_best_model {metric!r}; there are {', '.join(METRICS)}."
                + did_you_mean(metric, METRICS)
            )
        require_apart(self.fit_split, self.select_split)
        if self.stride < 1 or self.window < 1:
            raise ValueError(
                f"stride and window must be at least 1 bar; got {self.stride} and {self.window}"
            )


def sft_config(out: str | Path, **settings: Any) -> SFTConfig:
    """Return the paper's settings, for ``tiny`` those it was trained with.

    Parameters
    ----------
    out : path
        Folder of checkpoints and of the trained router.
    **settings
        Fields of ``SFTConfig`` and ``TrainingArguments``; None leaves the default.

    Raises
    ------
    ValueError
        If there is no setting of a name, or a value is of no use to it.
    """
    given = checked_settings(settings, SFTConfig)
    own = dict(TINY) if backbone_of(given.get("model", "tiny")) == "tiny" else {}
    if given.get("fp16"):
        own.pop("bf16", None)
    if given.get("model", "tiny") == "tiny":
        own["fresh_start"] = True  # what is embedded has been through this stage
    if "learning_rate" in given:
        own.pop("series_learning_rate", None)  # one rate given is the rate of all
    if "bf16" in own and not torch.cuda.is_available():
        own["use_cpu"] = True
    return SFTConfig(output_dir=str(out), **{**own, **given})
