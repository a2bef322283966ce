"""Stage 0, first half: the vision tower learns to say what the chart shows.

Each column of image tokens reconstructs the series drawn in it. Asking questions about charts of a
model with random weights teaches it nothing for hundreds of steps; the dense signal of every line
at every bar teaches it in minutes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import trange
from transformers import Qwen2_5_VLForConditionalGeneration

from mmdrex.errors import LossError
from mmdrex.router.patches import patchify
from mmdrex.router.tiny import embed_patches
from mmdrex.training.chart_windows import (
    DRAWN,
    GLOBAL_SIZE,
    LOCAL_BARS,
    LOCAL_SIZE,
    LOOKBACK,
    ChartWindows,
    charts,
    shown,
)

log = logging.getLogger(__name__)
TOKEN = 28  # pixels of an image token per axis


@dataclass(frozen=True)
class VisionConfig:
    """Settings of the reconstruction; the defaults trained the shipped ``tiny``."""

    steps: int = 1600
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 100
    clip: float = 1.0
    seed: int = 42
    compile: bool = True  # fuse MLPs and norms: half the time on a CPU; needs a C++ compiler


def require_finite(loss: torch.Tensor, who: str, step: int) -> None:
    """Stop a training whose loss is not a number."""
    if not torch.isfinite(loss):
        raise LossError(
            f"the loss of {who} is {loss.item()} at step {step} of stage 0; look for prices that "
            "are not finite, or lower the learning rate"
        )


class Reconstruction(nn.Module):
    """Linear map from a column of image tokens to the drawn series of the bars it covers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        rows = GLOBAL_SIZE[1] // TOKEN
        self.columns = {"global": GLOBAL_SIZE[0] // TOKEN, "local": LOCAL_SIZE[0] // TOKEN}
        self.wide = nn.Linear(rows * width, len(DRAWN) * LOOKBACK // self.columns["global"])
        self.near = nn.Linear(rows * width, len(DRAWN) * LOCAL_BARS // self.columns["local"])

    def read(self, tokens: torch.Tensor, head: nn.Linear, columns: int) -> torch.Tensor:
        """Return (B, DRAWN, bars) from tokens of shape (B, rows * columns, width)."""
        batch, _, width = tokens.shape
        by_column = tokens.view(batch, -1, columns, width).transpose(1, 2).flatten(2)
        series: torch.Tensor = head(by_column).view(batch, columns, len(DRAWN), -1)
        return series.transpose(1, 2).flatten(2)

    def forward(self, wide: torch.Tensor, near: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the series read from the global and from the local view."""
        return (
            self.read(wide, self.wide, self.columns["global"]),
            self.read(near, self.near, self.columns["local"]),
        )


def image_tokens(
    model: Qwen2_5_VLForConditionalGeneration, wide: np.ndarray, near: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the image tokens of both views: (B, 80, width) and (B, 48, width) for ``tiny``."""
    tower = model.model.visual
    parts = [patchify(images, temporal=1) for images in (wide, near)]
    patches = torch.cat([part[0].flatten(0, 1) for part in parts])
    grid = torch.cat([part[1] for part in parts])
    tokens = tower(patches, grid_thw=grid).pooler_output
    counts = [part[0].shape[0] * part[0].shape[1] // 4 for part in parts]
    first, second = torch.split(tokens, counts)
    return first.view(len(wide), -1, tokens.shape[-1]), second.view(len(near), -1, tokens.shape[-1])


@contextmanager
def fast_tower(tower: Any, compiled: bool) -> Iterator[None]:
    """Embed patches by a matrix product, and fuse MLPs and norms if a C++ compiler may be used."""
    tower.patch_embed.forward = MethodType(embed_patches, tower.patch_embed)
    if compiled:
        for block in tower.blocks:
            for part in (block.mlp, block.norm1, block.norm2):
                part.compile()
    try:
        yield
    finally:
        del tower.patch_embed.forward


def schedule(step: int, warmup: int, steps: int) -> float:
    """Return the share of the learning rate: linear warm-up, then a cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + float(np.cos(np.pi * (step - warmup) / max(1, steps - warmup))))


def train_vision(
    model: Qwen2_5_VLForConditionalGeneration,
    windows: ChartWindows,
    config: VisionConfig | None = None,
    progress: bool = True,
) -> Reconstruction:
    """Train the vision tower of ``model`` in place and return the heads that read it.

    Parameters
    ----------
    model : Qwen2_5_VLForConditionalGeneration
    windows : ChartWindows
        Windows of the training split.
    """
    settings = config or VisionConfig()
    rng = np.random.default_rng(settings.seed)
    tower = model.model.visual
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        heads = Reconstruction(tower.config.out_hidden_size)
    parameters = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    sample = np.stack([shown(windows.window(int(i))) for i in rng.integers(len(windows), size=500)])
    variance = torch.from_numpy(sample.var(axis=(0, 2)))[:, None]  # (DRAWN, 1)

    with fast_tower(tower, settings.compile):
        bar = trange(settings.steps, desc="reading charts", disable=not progress)
        started = time.monotonic()
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * schedule(
                    step, settings.warmup, settings.steps
                )
            batch = [
                windows.window(int(i)) for i in rng.integers(len(windows), size=settings.batch)
            ]
            truth = torch.from_numpy(np.stack([shown(window) for window in batch]))  # (B, DRAWN, T)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                wide, near = heads(*image_tokens(model, *charts(batch)))
            error_wide = (wide.float() - truth).square() / variance
            error_near = (near.float() - truth[..., -LOCAL_BARS:]).square() / variance
            loss = error_wide.mean() + error_near.mean()
            require_finite(loss, "the tower", step)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, settings.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if step % 20 == 0:
                close = DRAWN.index("close")
                bar.set_postfix(
                    unexplained=f"{0.5 * loss.item():.4f}",
                    close=f"{1 - error_wide[:, close].mean().item():.4f}",
                    rsi=f"{1 - error_wide[:, DRAWN.index('rsi')].mean().item():.4f}",
                )
    log.info("vision: %d steps in %.0f s", settings.steps, time.monotonic() - started)
    return heads
