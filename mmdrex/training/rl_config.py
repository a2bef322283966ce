"""Settings of the reinforcement stage: the paper's values, and what it leaves open."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from mmdrex.data.costs import COSTS
from mmdrex.data.splits import SPLITS, require_apart
from mmdrex.training.arguments import backbone_of, checked_settings, require_reporters
from mmdrex.training.oracle import STRIDE
from strategies.rule import did_you_mean

MODALITIES = ("VTL", "TL", "VL", "VT", "V", "T", "L")
# What trained the shipped tiny, where it is not the paper's: eleven minutes of a CPU, which takes
# bfloat16 in half the time. Adapters move slowly, so that they go on telling the trend as stage 1
# taught them; heads, which come fresh, fast. Draws cost next to nothing beside reading a window.
TINY: dict[str, Any] = {
    "learning_rate": 1e-4,
    "heads_learning_rate": 2e-3,
    "lr_scheduler_type": "linear",
    "max_steps": 40,
    "save_steps": 8,
    "ppo_epochs": 2,
    "router_epochs": 2,
    "draws": 128,
    "bf16": True,
}
# Settings of ``TrainingArguments`` that this loop knows nothing of: better refused than ignored.
UNUSED = (
    "activation_checkpointing",
    "auto_find_batch_size",
    "bf16_full_eval",
    "data_seed",
    "dataloader_num_workers",
    "deepspeed",
    "enable_jit_checkpoint",
    "eval_on_start",
    "fp16",
    "fsdp",
    "full_determinism",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "greater_is_better",
    "label_smoothing_factor",
    "load_best_model_at_end",
    "metric_for_best_model",
    "neftune_noise_alpha",
    "num_train_epochs",
    "optim_args",
    "optim_target_modules",
    "restore_callback_states_from_checkpoint",
    "save_only_model",
    "torch_compile",
    "torch_empty_cache_steps",
    "use_liger_kernel",
)


@dataclass
class RLConfig(TrainingArguments):
    """Settings of the reinforcement stage; ``TrainingArguments`` that a loop needs work as well.

    A step is one update: a rollout of ``update_every`` windows in each of the batch's episodes,
    then ``ppo_epochs`` passes over it. ``max_steps`` counts updates.
    """

    data: str = field(
        default="",
        metadata={"help": "Folder of CSV prices, or simulated:COUNT for that many markets."},
    )
    init: str = field(
        default="tiny",
        metadata={
            "help": "The router to start from: the folder that SFT wrote, tiny, or a hub id."
        },
    )
    window: int = field(default=90, metadata={"help": "Bars of a window; the paper's 90."})
    stride: int = field(
        default=STRIDE,
        metadata={"help": "Bars by which first windows are moved; the paper's counts imply 16."},
    )
    costs: str = field(
        default="paper", metadata={"help": "Costs that rewards are net of; the paper's are zero."}
    )
    fit_split: str = field(
        default="fit",
        metadata={"help": "Split trained on; the paper's 60 percent less its last year."},
    )
    select_split: str = field(
        default="select",
        metadata={"help": "Split the checkpoint is chosen on: the last year of training."},
    )
    max_episodes: int = field(default=2500, metadata={"help": "Episodes; the paper's 2500."})
    episode_windows: int = field(
        default=8, metadata={"help": "Windows of an episode at most; not in the paper."}
    )
    update_every: int = field(
        default=4, metadata={"help": "Windows per episode between two updates; the paper's 4."}
    )
    per_device_train_batch_size: int = field(
        default=16,
        metadata={"help": "Episodes side by side and samples per gradient step; the paper's 16."},
    )
    ppo_epochs: int = field(
        default=4, metadata={"help": "Passes of the experts over a rollout; not in the paper."}
    )
    router_epochs: int = field(
        default=1,
        metadata={"help": "Passes of the router, whose eq. 5 has no ratio; not in the paper."},
    )
    draws: int = field(
        default=16,
        metadata={"help": "Draws of rules and weights in every window; not in the paper."},
    )
    gamma: float = field(default=0.99, metadata={"help": "Discount; the paper's 0.99."})
    gae_lambda: float = field(default=0.95, metadata={"help": "GAE's lambda; not in the paper."})
    clip_epsilon: float = field(
        default=0.15, metadata={"help": "Bound of the policy ratio; the paper's 0.15."}
    )
    alpha_r: float = field(
        default=1.0, metadata={"help": "Weight of the excess return in eq. 12; not in the paper."}
    )
    alpha_s: float = field(
        default=0.5, metadata={"help": "Weight of the Sharpe ratio in eq. 12; not in the paper."}
    )
    beta: float = field(
        default=0.005, metadata={"help": "Weight of the group reward, eq. 13; not in the paper."}
    )
    c1: float = field(default=0.5, metadata={"help": "Weight of the value's loss, eq. 8."})
    c2: float = field(default=0.01, metadata={"help": "Weight of the experts' entropy, eq. 8."})
    c3: float = field(default=0.01, metadata={"help": "Weight of the router's entropy, eq. 5."})
    sharpness: list[float] = field(
        default_factory=lambda: [1.0],
        metadata={
            "help": "Factors of the trained router's logits, eq. 4: the one that earns most on "
            "`select` is kept; list 1 to let the logits as trained compete. Not in the paper."
        },
    )
    modalities: str | None = field(
        default=None,
        metadata={
            "help": "Ablation: VTL, TL, VL or another part; None: those of the router started from."
        },
    )
    fresh_start: bool = field(
        default=False,
        metadata={"help": "Ablation: fresh adapters and heads; the series' projection stays."},
    )
    group_reward: bool = field(
        default=True, metadata={"help": "Ablation: False leaves eq. 13 out of eq. 11."}
    )
    train_experts: bool = field(
        default=True,
        metadata={"help": "Ablation: False keeps the experts, each with its likeliest rule."},
    )
    train_router: bool = field(
        default=True, metadata={"help": "Ablation: False keeps the router's weights."}
    )
    anonymous: bool = field(
        default=False, metadata={"help": "Hide symbol, dates and price level in the prompts."}
    )
    fuse: bool = field(
        default=False,
        metadata={"help": "Fuse MLPs and norms: half the time on a CPU; needs a C++ compiler."},
    )
    windows_at_once: int = field(
        default=1,
        metadata={"help": "Windows in a backward pass; each needs memory for five adapters."},
    )
    trunk_gigabytes: float = field(
        default=2.0, metadata={"help": "Memory for states below the adapters, kept for reuse."}
    )
    cache_folder: str | None = field(
        default=None, metadata={"help": "Where oracle and image tokens are kept; the user's cache."}
    )
    learning_rate: float = field(default=3e-5, metadata={"help": "AdamW's rate; the paper's 3e-5."})
    heads_learning_rate: float | None = field(
        default=None,
        metadata={"help": "AdamW's rate of the heads; None: learning_rate; not in the paper."},
    )
    lr_scheduler_type: str = field(
        default="constant", metadata={"help": "Course of the learning rate; not in the paper."}
    )
    max_grad_norm: float = field(
        default=0.5,
        metadata={"help": "Largest gradient norm of the router, of each expert; the paper's 0.5."},
    )
    seed: int = field(default=42, metadata={"help": "Of order and draws; the paper's 42."})
    save_steps: float = field(
        default=10, metadata={"help": "Updates between two checkpoints, each scored on `select`."}
    )
    save_total_limit: int | None = field(
        default=2, metadata={"help": "Checkpoints kept: the best and the last."}
    )
    logging_steps: float = field(default=1, metadata={"help": "Updates between two log entries."})

    def __post_init__(self) -> None:
        """Check what no run could use."""
        usual = {one.name: one.default for one in fields(TrainingArguments)}
        given = {name: getattr(self, name) for name in UNUSED}
        unused = [name for name, value in given.items() if value and value != usual[name]]
        if unused:
            raise ValueError(f"stage 2 has no use for {', '.join(unused)}; leave them out")
        optim = str(getattr(self.optim, "value", self.optim))  # text as given, an enum as kept
        course = str(getattr(self.lr_scheduler_type, "value", self.lr_scheduler_type))
        if not optim.startswith("adamw_torch"):
            raise ValueError(f"stage 2 learns by AdamW: no optim {optim!r}")
        for name in ("eval_strategy", "logging_strategy", "save_strategy"):
            when = str(getattr(getattr(self, name), "value", getattr(self, name)))
            if when not in ("steps", "no"):
                raise ValueError(f"stage 2 counts updates: {name} is steps or no, not {when!r}")
        if course == "reduce_lr_on_plateau":
            raise ValueError(f"stage 2 knows no plateau: no lr_scheduler_type {course!r}")
        super().__post_init__()  # type: ignore[no-untyped-call]  # transformers leaves it so
        for name in ("fit_split", "select_split"):
            if getattr(self, name) not in SPLITS:
                raise ValueError(
                    f"no split {getattr(self, name)!r}; there are {', '.join(SPLITS)}."
                    + did_you_mean(getattr(self, name), SPLITS)
                )
        require_reporters(self.report_to)
        if self.max_steps != -1 and self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, or -1 for all, not {self.max_steps}")
        require_apart(self.fit_split, self.select_split)
        if self.costs not in COSTS:
            raise ValueError(
                f"no costs {self.costs!r}; there are {', '.join(COSTS)}."
                + did_you_mean(self.costs, COSTS)
            )
        if self.modalities is not None and self.modalities not in MODALITIES:
            raise ValueError(
                f"modalities are one of {', '.join(MODALITIES)}, not {self.modalities!r}"
            )
        counts = ("window", "stride", "max_episodes", "episode_windows", "update_every")
        passes = ("ppo_epochs", "router_epochs", "draws", "windows_at_once")
        for name in (*counts, *passes, "per_device_train_batch_size"):
            value = getattr(self, name)
            if value < 1 or value != int(value):
                raise ValueError(f"{name} must be a whole number of at least 1, not {value}")
        if not self.sharpness or not all(0.0 < factor < math.inf for factor in self.sharpness):
            raise ValueError(f"sharpness takes factors above 0, as 1 2 4, not {self.sharpness}")
        if self.sharpness != [1.0] and not self.train_router:
            raise ValueError("sharpness changes the router, which train_router: false keeps")
        if not (self.train_experts or self.train_router):
            raise ValueError("with experts and router fixed there is nothing to train; free one")


def rl_config(out: str | Path, **settings: Any) -> RLConfig:
    """Return the paper's settings, for ``tiny`` those it was trained with.

    Parameters
    ----------
    out : path
        Folder of checkpoints and of the trained router.
    **settings
        Fields of ``RLConfig`` and ``TrainingArguments``; None leaves the default.
    """
    given = checked_settings(settings, RLConfig)
    own = dict(TINY) if backbone_of(given.get("init", "tiny")) == "tiny" else {}
    if "learning_rate" in given:
        own.pop("heads_learning_rate", None)  # one rate given is the rate of all
    if not torch.cuda.is_available():
        own["use_cpu"] = True
    return RLConfig(output_dir=str(out), **{**own, **given})
