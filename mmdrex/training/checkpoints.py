"""What a training run keeps: router folders in safetensors, the last whole one, a bad batch."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import TrainingArguments

from mmdrex.data.files import replacing
from mmdrex.errors import LossError
from mmdrex.router import storage
from mmdrex.router.config import MMDREXConfig
from mmdrex.router.router import ADAPTER, Router

SCALER = ("series.mean", "series.deviation")
STATE = "trainer_state.json"  # what Trainer writes last: a checkpoint without it is not whole


def checkpoints_by_step(out: Path) -> dict[int, Path]:
    """Return the checkpoints of a run's folder; a copy under a name of yours is none."""
    named = ((path.name.removeprefix("checkpoint-"), path) for path in out.glob("checkpoint-*"))
    return {int(step): path for step, path in named if step.isdecimal()}


def last_checkpoint(out: Path) -> Path | None:
    """Return the newest checkpoint that was written whole, or None.

    A run killed while it wrote one leaves a folder without a readable state; it is passed over.
    """
    steps = checkpoints_by_step(out)
    for step in sorted(steps, reverse=True):
        try:
            json.loads((steps[step] / STATE).read_text())
        except (FileNotFoundError, ValueError):
            continue
        return steps[step]
    return None


def checkpoint_asked(out: Path, asked: str | None) -> Path | None:
    """Return the checkpoint to go on from; refuse to mix a new run with an old one's.

    Parameters
    ----------
    out : path
        Folder of the run.
    asked : str, optional
        A checkpoint, or "true" for the newest of the folder (``resume_from_checkpoint``).
    """
    found = last_checkpoint(out)
    if asked and str(asked).lower() not in ("true", "1"):
        return Path(str(asked))
    if asked or found is None:
        return found
    raise ValueError(
        f"{found} is of an earlier run; go on from there with --resume (resume_from_checkpoint: "
        "true), or choose another folder"
    )


def require_checkpoint(out: Path, asked: str | None) -> None:
    """Refuse to go on where there is nothing to go on from, as transformers does."""
    found = checkpoint_asked(out, asked)
    if asked and (found is None or not found.is_dir()):
        raise ValueError(
            f"--resume: no whole checkpoint in {found or out}; leave it out to start a new run"
        )


def require_writable(out: Path) -> None:
    """Refuse a folder that can't be written, before hours are spent on what goes into it.

    A folder made to try is taken away again: what is refused later leaves none.
    """
    made = [path for path in (out, *out.parents) if not path.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out, prefix=".probe"):
            pass
        for path in made:
            path.rmdir()
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is in the way" if in_the_way else error.strerror
        raise ValueError(
            f"--out {out} can't be written ({reason}); choose another folder"
        ) from None


def same_run(checkpoint: Path, stage: str, record: Mapping[str, Any]) -> None:
    """Refuse to go on with other data or settings than the checkpoint was made with."""
    training = MMDREXConfig.from_pretrained(checkpoint).training
    if stage not in training:
        raise ValueError(f"{checkpoint} is no checkpoint of {stage}; choose another folder")
    kept = training[stage]
    other = [name for name, value in record.items() if kept.get(name) != value]
    if other:
        told = ", ".join(f"{name} (was {kept.get(name)}, is {record[name]})" for name in other)
        raise ValueError(f"{checkpoint} can't be resumed with another {told}")


def check_fits(router: Router, folder: Path) -> None:
    """Refuse a checkpoint of other rules, features or scaler than the router's, and name them.

    Raises
    ------
    ValueError
        With every difference.
    """
    theirs, ours = MMDREXConfig.from_pretrained(folder), router.config
    told = [
        f"{name} (was {getattr(theirs, name)}, is {getattr(ours, name)})"
        for name in ("experts", "rules", "features", "lookback", "patch", "lora_layers")
        if getattr(theirs, name) != getattr(ours, name)
    ]
    kept, own = load_file(folder / storage.WEIGHTS), storage.own_weights(router)
    told += [f"{name} (missing)" for name in sorted(own.keys() - kept.keys())]
    told += [f"{name} (unknown)" for name in sorted(kept.keys() - own.keys())]
    for name in sorted(own.keys() & kept.keys()):
        was, now = kept[name], own[name]
        if was.shape != now.shape:
            told.append(f"{name} (was of shape {tuple(was.shape)}, is {tuple(now.shape)})")
        elif name in SCALER and not torch.equal(was.float(), now.float()):
            place = int((was.float() != now.float()).nonzero()[0])
            told.append(
                f"{name} of the feature {ours.features[place]} "
                f"(was {was[place]:.6g}, is {now[place]:.6g})"
            )
    if told:
        raise ValueError(
            f"{folder} does not fit the router it is to go on with: {'; '.join(told)}; "
            "go on with the code and the router it was made with"
        )


def load_weights(router: Router, folder: Path) -> None:
    """Set adapters, heads, projection and scaler to those of a saved router that fits."""
    check_fits(router, folder)
    for adapter in (ADAPTER, *router.config.experts):
        state = load_file(folder / adapter / "adapter_model.safetensors")
        set_peft_model_state_dict(router.vlm, state, adapter)
    router.load_state_dict(load_file(folder / storage.WEIGHTS), strict=False)
    router.refresh()


def require_finite(router: Router, step: int) -> None:
    """Refuse to keep a router whose weights are no numbers.

    Raises
    ------
    LossError
        Naming the first of them.
    """
    if (name := storage.not_finite(router)) is not None:
        raise LossError(
            f"{name} is not finite after step {step}: nothing of it is kept. A smaller learning "
            "rate or max_grad_norm helps, or float32 in place of bf16"
        )


def write_final(router: Router, out: Path) -> None:
    """Write a router into a folder that also holds checkpoints, ``config.json`` last.

    That file marks a router: a run that is killed on the way leaves none by its name.
    """
    out.mkdir(parents=True, exist_ok=True)
    with disk_errors(out), tempfile.TemporaryDirectory(dir=out, prefix=".router") as folder:
        storage.write_router(router, Path(folder))
        (out / "config.json").unlink(missing_ok=True)
        files = sorted(Path(folder).iterdir(), key=lambda path: path.name == "config.json")
        for path in files:
            with replacing(out / path.name) as place:
                path.rename(place)


def push(router: Router, config: TrainingArguments) -> None:
    """Upload a finished router as the settings say: where, how private, which revision."""
    router.push_to_hub(
        config.hub_model_id or Path(str(config.output_dir)).name,
        token=config.hub_token,
        private=config.hub_private_repo,
        revision=config.hub_revision,
    )


def copy_adapter(router: Router) -> None:
    """Start the four experts as copies of the router's adapter."""
    state = get_peft_model_state_dict(router.vlm, adapter_name=ADAPTER, save_embedding_layers=False)
    for expert in router.config.experts:
        set_peft_model_state_dict(router.vlm, state, expert)
    router.refresh()


def keep_batch(batch: Mapping[str, torch.Tensor], path: Path) -> Path:
    """Write a batch for inspection and return its path."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in batch.items()}
    with disk_errors(path.parent), replacing(path) as aside:
        save_file(tensors, aside)
    return path


@contextmanager
def disk_errors(folder: Path, kept: Path | None = None) -> Iterator[None]:
    """Say in one line that a folder can't be written to; torch and safetensors have own errors.

    ``kept`` is what a run goes on from: the last checkpoint, unless it is something else.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        kept = kept if kept is not None and kept.exists() else last_checkpoint(folder)
        whole = "there is no checkpoint" if kept is None else f"the checkpoint {kept} is intact"
        raise OSError(f"nothing can be written to {folder} ({reason}); {whole}") from error


def code_version() -> str:
    """Return the package's version.

    Read late: the package's own lazy names reach up to the catalog, imports here must point down.
    """
    return str(import_module("mmdrex").__version__)


def seen_dates(
    outcomes: Iterable[tuple[str, pd.Timestamp, pd.Timestamp]], before: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Return the first and last day of outcomes seen, by class of assets.

    Parameters
    ----------
    outcomes : iterable of (str, Timestamp, Timestamp)
        Class, first and last day.
    before : mapping of str to two str
        What earlier stages saw.
    """
    seen = {
        kind: [pd.Timestamp(first), pd.Timestamp(last)] for kind, (first, last) in before.items()
    }
    for kind, first, last in outcomes:
        low, high = seen.get(kind, [first, last])
        seen[kind] = [min(low, first), max(high, last)]
    return {kind: [f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"] for kind, (first, last) in seen.items()}
