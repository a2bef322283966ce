"""What a run keeps beside the router to go on bit for bit: safetensors and JSON, no pickle.

Moments are tensors; the optimizer's groups, the scheduler's place and the random states of every
process are numbers.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

OPTIMIZER = "optimizer"
SCHEDULER = "scheduler.json"
SCALER = "scaler.json"


def save_optimizer(optimizer: Any, folder: Path) -> None:
    """Write moments as tensors and all else, numbers, as JSON."""
    state = optimizer.state_dict()
    moments: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    for place, own in state["state"].items():
        for name, value in own.items():
            if isinstance(value, torch.Tensor):
                moments[f"{place}|{name}"] = value.detach().cpu().contiguous()
            else:
                numbers[f"{place}|{name}"] = value
    save_file(moments, folder / f"{OPTIMIZER}.safetensors")
    record = {"param_groups": state["param_groups"], "numbers": numbers}
    (folder / f"{OPTIMIZER}.json").write_text(json.dumps(record), encoding="utf-8")


def load_optimizer(optimizer: Any, folder: Path) -> None:
    """Set an optimizer of the same parameters to what was kept."""
    record = json.loads((folder / f"{OPTIMIZER}.json").read_text(encoding="utf-8"))
    state: dict[int, dict[str, Any]] = {}
    kept = {**load_file(folder / f"{OPTIMIZER}.safetensors"), **record["numbers"]}
    for key, value in kept.items():
        place, name = key.split("|")
        state.setdefault(int(place), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": record["param_groups"]})


def save_scheduler(scheduler: Any, folder: Path) -> None:
    """Write the numbers of a scheduler; its functions come from the settings again."""
    course = {name: value for name, value in scheduler.state_dict().items() if name != "lr_lambdas"}
    (folder / SCHEDULER).write_text(json.dumps(course), encoding="utf-8")


def load_scheduler(scheduler: Any, folder: Path) -> None:
    """Set a scheduler of the same settings to what was kept."""
    course = json.loads((folder / SCHEDULER).read_text(encoding="utf-8"))
    scheduler.load_state_dict({**scheduler.state_dict(), **course})


def save_random_states(folder: Path, process: int) -> None:
    """Write the random states of this process."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002  # Trainer seeds it
    record = {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "cpu": torch.get_rng_state().tolist(),
        "cuda": [state.tolist() for state in torch.cuda.get_rng_state_all()],
    }
    (folder / f"random_{process}.json").write_text(json.dumps(record), encoding="utf-8")


def load_random_states(folder: Path, process: int) -> None:
    """Set the random states of this process to what was kept."""
    record = json.loads((folder / f"random_{process}.json").read_text(encoding="utf-8"))
    version, inner, gauss = record["python"]
    random.setstate((version, tuple(inner), gauss))
    np.random.set_state(tuple(record["numpy"]))  # noqa: NPY002  # as above
    torch.set_rng_state(torch.tensor(record["cpu"], dtype=torch.uint8))
    seen = torch.cuda.device_count()  # another machine may show fewer
    torch.cuda.set_rng_state_all(
        [torch.tensor(state, dtype=torch.uint8) for state in record["cuda"][:seen]]
    )
