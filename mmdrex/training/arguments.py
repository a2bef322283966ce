"""What a user gave for a training run, by YAML or options, and nothing that was left to defaults.

``tiny`` has defaults of its own: which ones hold is known only where given and default values are
told apart.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING
from enum import Enum
from numbers import Real
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml
from transformers import HfArgumentParser, TrainingArguments
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType
from transformers.training_args import OptimizerNames

from strategies.rule import did_you_mean

# Least and largest value that a setting may have; beyond them a run ends late or learns nothing.
BOUNDS: dict[str, tuple[float, float]] = {
    "learning_rate": (0.0, sys.float_info.max),
    "heads_learning_rate": (0.0, sys.float_info.max),
    "series_learning_rate": (0.0, sys.float_info.max),
    "weight_decay": (0.0, sys.float_info.max),
    "max_grad_norm": (0.0, math.inf),
    "seed": (0, math.inf),
    "samples": (1, math.inf),
    "select_samples": (1, math.inf),
    "per_device_train_batch_size": (1, math.inf),
    "per_device_eval_batch_size": (1, math.inf),
    "anonymous": (0.0, 1.0),
    "text_weight": (0.0, math.inf),
    "gamma": (0.0, 1.0),
    "gae_lambda": (0.0, 1.0),
    "clip_epsilon": (0.0, math.inf),
    "trunk_gigabytes": (0.0, math.inf),
}
CHOICES: dict[str, type[Enum]] = {
    "lr_scheduler_type": SchedulerType,
    "optim": OptimizerNames,
    "save_strategy": SaveStrategy,
    "eval_strategy": IntervalStrategy,
    "logging_strategy": IntervalStrategy,
}
WANTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a list of settings",
}


def given_settings(arguments: Sequence[str], kind: type[TrainingArguments]) -> dict[str, Any]:
    """Return the settings given as one YAML file or as options, by name.

    Parameters
    ----------
    arguments : sequence of str
        ``["sft.yaml"]`` or ``["--output_dir", "runs/sft", ...]``.
    kind : type
        ``SFTConfig`` or ``RLConfig``.

    Raises
    ------
    ValueError
        If there is no folder to write to, no setting of a name, or a value is of no use to it.
    """
    if len(arguments) == 1 and arguments[0].endswith((".yaml", ".yml")):
        given = yaml_settings(Path(arguments[0]), kind)
    else:
        parser = HfArgumentParser(kind)  # type: ignore[arg-type]  # its stub wants an own type
        parser.usage = f"{kind.__name__} settings: a YAML file, or --output_dir DIR --data DATA ..."
        parser.set_defaults(**dict.fromkeys(kind.__dataclass_fields__, MISSING))
        found = vars(parser.parse_args(list(arguments)))
        given = {name: value for name, value in found.items() if value is not MISSING}
    if not given.get("output_dir"):
        raise ValueError("output_dir is missing: the folder of checkpoints and the trained router")
    return given


def yaml_settings(path: Path, kind: type[TrainingArguments]) -> dict[str, Any]:
    """Return the settings of a YAML file; ``1e-3``, which YAML takes for text, is a number."""
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise ValueError(f"{path} is no list of settings such as 'learning_rate: 0.001'")
    try:
        return checked_settings(given, kind)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def checked_settings(given: Mapping[str, Any], kind: type[TrainingArguments]) -> dict[str, Any]:
    """Return settings by name, each as its field wants it; None, the default, is left out.

    Raises
    ------
    ValueError
        If there is no setting of a name, or a value is of no use to it.
    """
    fields, types = kind.__dataclass_fields__, get_type_hints(kind)
    for name in given:
        if name not in fields:
            raise ValueError(f"no setting {name!r}.{did_you_mean(str(name), fields)}")
    wanted = {
        name: _as_wanted(name, value, types[name])
        for name, value in given.items()
        if value is not None
    }
    for name, value in wanted.items():
        _require_usable(name, value)
    return wanted


def _require_usable(name: str, value: Any) -> None:
    """Refuse a number out of bounds and a word that is none of the choices."""
    low, high = BOUNDS.get(name, (-math.inf, math.inf))
    if isinstance(value, int | float) and not isinstance(value, bool) and not low <= value <= high:
        bounds = f"at least {low:g}" if high > 1e9 else f"from {low:g} to {high:g}"
        raise ValueError(f"{name} must be a number {bounds}, not {value}")
    if name in CHOICES and isinstance(value, str):
        words = [str(one.value) for one in CHOICES[name]]
        if value not in words:
            raise ValueError(f"no {name} {value!r}.{did_you_mean(value, words)}")


def require_reporters(names: Any) -> None:
    """Refuse a tracker of ``report_to`` that is not installed, before anything is computed."""
    try:
        for callback in get_reporting_integration_callbacks(names):
            callback()
    except (RuntimeError, ImportError) as error:
        asked = ", ".join([names] if isinstance(names, str) else names)
        raise ValueError(
            f"report_to: {asked} can't be used ({str(error).splitlines()[0]}); pip install it, or "
            "report_to: none"
        ) from None


def _as_wanted(name: str, given: Any, wanted: Any) -> Any:
    """Return a value as a field of that type wants it, or say what it should be."""
    parts = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    kinds = tuple(kind for part in parts if isinstance(kind := get_origin(part) or part, type))
    value = given
    if given is False and name.endswith("_strategy"):  # YAML's reading of no
        return "no"
    if isinstance(given, str) and (int in kinds or float in kinds) and str not in kinds:
        with suppress(ValueError):
            value = float(given)
    number = isinstance(value, Real) and not isinstance(value, bool)
    if number and float in kinds:
        return value
    if number and int in kinds and float(value).is_integer():
        return int(value)
    inner = [kind for part in parts if get_origin(part) is list for kind in get_args(part)]
    if isinstance(value, list) and inner:
        return [_as_wanted(name, item, inner[0]) for item in value]
    truth = isinstance(value, bool)
    if truth and str in kinds:  # resume_from_checkpoint: true
        return value
    if isinstance(value, kinds) and not number and (bool in kinds or not truth):
        return value
    if str in kinds and isinstance(value, Path | Real):  # a folder of prices named 2020
        return str(value)
    words = [word for kind, word in WANTED.items() if kind in kinds] or [str(wanted)]
    raise ValueError(f"{name} must be {' or '.join(words)}, not {given!r}")


def backbone_of(model: str) -> str:
    """Return the backbone of a router's folder; any other name stands for itself."""
    path = Path(model) / "config.json"
    if not path.is_file():
        return model
    with suppress(ValueError, AttributeError):  # a damaged file is named when the router is loaded
        return str(json.loads(path.read_text(encoding="utf-8")).get("backbone", model))
    return model
