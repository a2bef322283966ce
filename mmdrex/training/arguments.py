"""What a user gave for a training run, by YAML or options, and nothing that was left to defaults.

``tiny`` has defaults of its own: which ones hold is known only where given and default values are
told apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser, TrainingArguments

from strategies.rule import did_you_mean


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
        If there is no folder to write to, or no setting of a name.
    """
    if len(arguments) == 1 and arguments[0].endswith((".yaml", ".yml")):
        given = yaml_settings(Path(arguments[0]), kind)
    else:
        parser = HfArgumentParser(kind)  # type: ignore[arg-type]  # its stub wants an own type
        parser.set_defaults(**dict.fromkeys(kind.__dataclass_fields__, MISSING))
        found = vars(parser.parse_args(list(arguments)))
        given = {name: value for name, value in found.items() if value is not MISSING}
    if not given.get("output_dir"):
        raise ValueError("output_dir is missing: the folder of checkpoints and the trained router")
    return given


def yaml_settings(path: Path, kind: type[TrainingArguments]) -> dict[str, Any]:
    """Return the settings of a YAML file; ``1e-3``, which YAML takes for text, is a number."""
    given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(given, dict):
        raise ValueError(f"{path} is no list of settings such as 'learning_rate: 0.001'")
    fields = kind.__dataclass_fields__
    for name, value in given.items():
        if name not in fields:
            raise ValueError(f"{path}: no setting {name!r}.{did_you_mean(str(name), fields)}")
        wanted = str(fields[name].type)
        if isinstance(value, str) and "float" in wanted and "str" not in wanted.replace("<cl", ""):
            try:
                given[name] = float(value)
            except ValueError:
                raise ValueError(f"{path}: {name} must be a number, not {value!r}") from None
    return given


def backbone_of(model: str) -> str:
    """Return the backbone of a router's folder; any other name stands for itself."""
    path = Path(model) / "config.json"
    if not path.is_file():
        return model
    return str(json.loads(path.read_text(encoding="utf-8")).get("backbone", model))
