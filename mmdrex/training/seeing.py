"""Image tokens of many charts, computed once and kept in one memory-mapped file.

The vision tower carries no adapter: whatever is trained, a chart's tokens stay what they are, and
every stage, seed and evaluation reads the same file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from tqdm.auto import tqdm

from mmdrex.data.files import replacing, reserve
from mmdrex.data.simulated import simulated_bars
from mmdrex.observation.observation import Observation, Observer
from mmdrex.router.cache import default_folder, digest
from mmdrex.router.router import Router
from mmdrex.router.storage import weights_digest

log = logging.getLogger(__name__)

BATCH, BLOCK = 16, 32  # observations a pass; passes between two notes of how far it came


@dataclass(frozen=True)
class Seen:
    """Image tokens of N observations, read from the file as they are asked for."""

    kept: torch.Tensor  # (all in the file, tokens, width)
    places: list[int]  # of the N observations

    def __getitem__(self, row: int) -> torch.Tensor:
        """Return the image tokens (tokens, width) of one observation."""
        return self.kept[self.places[row]]


@torch.no_grad()
def see(
    router: Router,
    observations: Sequence[Observation],
    folder: Path | None = None,
    progress: bool = False,
) -> Seen | None:
    """Return the image tokens of every observation's two charts, or None without modality V.

    Parameters
    ----------
    router : Router
    observations : sequence of Observation of length N
    folder : path, optional
        Where the file is kept; ``$MMDREX_CACHE`` or the user's cache folder unless given. Charts
        seen before, by whatever run, are not seen again.
    progress : bool

    Returns
    -------
    Seen
        ``seen[row]`` has shape (tokens, width); float16 where the model computes in float32, else
        as it is.
    """
    if "V" not in router.config.modalities or not observations:
        return None
    tokens, width = sum(router.processor.image_tokens()), router.vlm.config.text_config.hidden_size
    model_type = router.backbone.model.visual.dtype
    kind = torch.float16 if model_type == torch.float32 else model_type
    vision = weights_digest(router.backbone.model.visual.state_dict())
    sizes = tuple(router.processor.global_size), tuple(router.processor.local_size)
    key = digest(vision, drawing(*sizes), f"{sizes} {kind}")
    path = (folder or default_folder()) / "charts" / f"{key}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = [one.drawn for one in observations]
    with FileLock(path.with_suffix(".lock")):
        index = _index(path, tokens * width * kind.itemsize)
        missing = dict(zip(keys, observations, strict=True))
        for key in index.keys() & missing.keys():
            del missing[key]
        count = len(index) + len(missing)
        reserve(path, count * tokens * width * kind.itemsize)
        kept = torch.from_file(str(path), shared=True, size=count * tokens * width, dtype=kind)
        kept = kept.view(count, tokens, width)
        silent = not (progress and missing)
        with tqdm(total=len(missing), desc="seeing charts", disable=silent) as bar:
            _fill(router, kept, index, missing, path, bar)
    return Seen(kept, [index[key] for key in keys])


@cache
def drawing(global_size: tuple[int, int], local_size: tuple[int, int]) -> str:
    """Return a digest of how charts look, of the pixels of one: tokens are of pixels, not prices.

    Other colours, panels or letters make what was kept a stranger.
    """
    bars = simulated_bars(0, bars=400)[0]
    one = Observer(bars, "drawing").at(len(bars) - 1)
    wide, near = one.chart("global", global_size), one.chart("local", local_size)
    return digest(wide.tobytes(), near.tobytes())


def _fill(
    router: Router,
    kept: torch.Tensor,
    index: dict[str, int],
    missing: dict[str, Observation],
    path: Path,
    bar: tqdm[Any],
) -> None:
    """See what is missing, block by block; an interrupted run loses no more than a block."""
    keys = list(missing)
    cache, router.cache.folder = router.cache.folder, None  # one file instead of one a chart
    try:
        for number, start in enumerate(range(0, len(keys), BATCH), start=1):
            part = keys[start : start + BATCH]
            first = len(index)
            tokens = torch.stack(router.vision([missing[key] for key in part]))
            kept[first : first + len(part)] = tokens.to(kept.dtype).cpu()
            index |= {key: first + place for place, key in enumerate(part)}
            bar.update(len(part))
            if number % BLOCK == 0 or start + BATCH >= len(keys):
                with replacing(path.with_suffix(".json")) as aside:
                    aside.write_text(json.dumps(list(index)))
    finally:
        router.cache.folder = cache


def _index(path: Path, size: int) -> dict[str, int]:
    """Return the place of each chart in the file, of those noted and, at ``size`` bytes, there."""
    note = path.with_suffix(".json")
    keys = json.loads(note.read_text()) if note.exists() and path.exists() else []
    there = path.stat().st_size // size if keys else 0
    return {key: place for place, key in enumerate(keys[:there])}
