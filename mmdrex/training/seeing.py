"""Image tokens of many charts, computed once and kept in one memory-mapped file.

The vision tower carries no adapter: whatever is trained, a chart's tokens stay what they are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm.auto import tqdm

from mmdrex.data.files import replacing
from mmdrex.observation.observation import Observation
from mmdrex.router.cache import default_folder, digest
from mmdrex.router.router import Router
from mmdrex.router.storage import weights_digest

log = logging.getLogger(__name__)

BATCH, BLOCK = 16, 32  # observations a pass; passes between two notes of how far it came


@torch.no_grad()
def see(
    router: Router,
    observations: Sequence[Observation],
    folder: Path | None = None,
    progress: bool = False,
) -> torch.Tensor | None:
    """Return the image tokens of every observation's two charts, or None without modality V.

    Parameters
    ----------
    router : Router
    observations : sequence of Observation of length N
    folder : path, optional
        Where the file is kept; ``$MMDREX_CACHE`` or the user's cache folder unless given. An
        interrupted run is taken up where it stopped.
    progress : bool

    Returns
    -------
    tensor of shape (N, tokens, width)
        Read from the file as needed; float16 where the model computes in float32, else as it is.
    """
    if "V" not in router.config.modalities or not observations:
        return None
    tokens, width = sum(router.processor.image_tokens()), router.vlm.config.text_config.hidden_size
    model_type = router.backbone.model.visual.dtype
    kind = torch.float16 if model_type == torch.float32 else model_type
    vision = weights_digest(router.backbone.model.visual.state_dict())
    sizes = f"{router.processor.global_size} {router.processor.local_size} {kind}"
    key = digest(vision, sizes, *(one.digest for one in observations))
    path = (folder or default_folder()) / "charts" / f"{key}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(observations)
    seen = torch.from_file(str(path), shared=True, size=count * tokens * width, dtype=kind)
    seen = seen.view(count, tokens, width)
    note = path.with_suffix(".json")
    done = _done(note)
    kept, router.cache.folder = router.cache.folder, None  # one file instead of one a chart
    try:
        for start in tqdm(
            range(done, count, BATCH), desc="seeing charts", disable=not progress or done >= count
        ):
            batch = observations[start : start + BATCH]
            seen[start : start + len(batch)] = torch.stack(router.vision(batch)).to(kind).cpu()
            if (start // BATCH) % BLOCK == BLOCK - 1 or start + BATCH >= count:
                with replacing(note) as aside:
                    aside.write_text(json.dumps({"done": start + len(batch)}))
    finally:
        router.cache.folder = kept
    return seen


def _done(note: Path) -> int:
    """Return how many observations an earlier run has seen."""
    try:
        return int(json.loads(note.read_text())["done"])
    except FileNotFoundError:
        return 0
