"""How well a router reads charts: linear heads fitted on training assets, scored on new ones.

Two places are read: the last prompt token's state, with series and text removed (where the router's
heads read), and the image tokens. The heads are fitted here from scratch and thrown away; the
figures are those of the stored weights, on validation windows of assets never trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from mmdrex.observation.chart import Window
from mmdrex.router.router import Router
from mmdrex.training.assets import HELD_OUT
from mmdrex.training.chart_windows import (
    DRAWN,
    GLOBAL_SIZE,
    LOOKBACK,
    ChartWindows,
    chart_windows,
    charts,
    shown,
)
from mmdrex.training.reading import CLASSES, Reading, answers, unexplained
from mmdrex.training.vision import TOKEN, image_tokens

# The bars for the last token's state, then for the image tokens.
GOALS = {
    "close, last 60 bars (R2)": 0.97,
    "RSI, last 60 bars (R2)": 0.95,
    "order of MA10 and MA20": 0.95,
    "zone of RSI": 0.93,
    "fifth of the Bollinger band": 0.85,
    "image tokens: close (R2)": 0.99,
    "image tokens: RSI (R2)": 0.97,
}
TEXTURE = "texture of the window (mean R2)"  # of the last token's state; the issue asks nothing
RIDGE = 1e-4  # of the standardised states' mean square


def examine(
    router: Router,
    assets: Mapping[str, pd.DataFrame],
    fit: int = 6000,
    score: int = 2000,
    seed: int = 42,
    progress: bool = True,
) -> dict[str, float]:
    """Return the figures named in ``GOALS``, and ``TEXTURE``.

    Parameters
    ----------
    router : Router
        A ``tiny``, as loaded from its stored weights.
    assets : mapping of str to DataFrame
        Bars by symbol, those of ``HELD_OUT`` among them.
    fit, score : int
        Windows that the heads are fitted on (training split, assets trained on) and scored on
        (validation split, ``HELD_OUT``).
    """
    seen = {name: bars for name, bars in assets.items() if name not in HELD_OUT}
    new = {name: bars for name, bars in assets.items() if name in HELD_OUT}
    rng = np.random.default_rng(seed)
    fitted = _draw(chart_windows(seen, "train"), fit, rng, "train", "any other asset")
    scored = _draw(chart_windows(new, "validation"), score, rng, "validation", ", ".join(HELD_OUT))
    states, images = zip(*(_read(router, part, progress) for part in (fitted, scored)), strict=True)
    truths = [answers(part) for part in (fitted, scored)]
    return {**_last_token(states, truths), **_image_tokens(images, (fitted, scored))}


def _draw(
    windows: ChartWindows, count: int, rng: np.random.Generator, split: str, assets: str
) -> list[Window]:
    if not len(windows):
        raise ValueError(
            f"no window to examine: the {split} split of {assets} is wanted; give a folder with "
            "such prices, a CSV file each, named after the asset"
        )
    rows = rng.choice(len(windows), size=min(count, len(windows)), replace=False)
    return [windows.window(int(row)) for row in rows]


@torch.inference_mode()
def _read(
    router: Router, windows: Sequence[Window], progress: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return states (N, width) and global image tokens (N, 80, width) of charts alone."""
    model = router.backbone
    processor = router.processor.seeing("V")
    alone = processor.inputs("", np.zeros((LOOKBACK, len(router.config.features)), np.float32))
    states, images = [], []
    for start in tqdm(range(0, len(windows), 16), desc="examining", disable=not progress):
        wide, near = image_tokens(model, *charts(list(windows[start : start + 16])))
        both = list(torch.cat([wide, near], dim=1))
        trunk = router.trunk([alone] * len(both), both)
        states.append(router.states(trunk, ("router",))[0])
        images.append(wide.half())
    return torch.cat(states), torch.cat(images)


def _standard(fit: torch.Tensor, score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both, standardised by the first, with a column of ones."""
    mean, deviation = fit.mean(dim=0), fit.std(dim=0) + 1e-6

    def ready(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([(values - mean) / deviation, torch.ones(len(values), 1)], dim=1)

    return ready(fit), ready(score)


def _ridge(fit: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the weights (d, outputs) of a ridge regression."""
    gram = fit.T @ fit + RIDGE * len(fit) * torch.eye(fit.shape[1])
    solved: torch.Tensor = torch.linalg.solve(gram, fit.T @ wanted)
    return solved


def _logistic(fit: torch.Tensor, wanted: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the weights (d, classes) of a multinomial logistic regression, lightly regularised."""
    weights = torch.zeros(fit.shape[1], classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(fit @ weights, wanted) + RIDGE * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def _last_token(states: Sequence[torch.Tensor], truths: Sequence[Reading]) -> dict[str, float]:
    """Return the figures of the last token's state."""
    fit, score = _standard(states[0], states[1])
    figures = {}
    for name, figure in (("close", "close, last 60 bars (R2)"), ("rsi", "RSI, last 60 bars (R2)")):
        told = score @ _ridge(fit, getattr(truths[0], name))
        figures[figure] = 1.0 - unexplained(getattr(truths[1], name), told)
    titles = {
        "order": "order of MA10 and MA20",
        "zone": "zone of RSI",
        "fifth": "fifth of the Bollinger band",
    }
    for name, figure in titles.items():
        weights = _logistic(fit, getattr(truths[0], name), CLASSES[name])
        right = (score @ weights).argmax(dim=1) == getattr(truths[1], name)
        figures[figure] = float(right.float().mean())
    told, truth = score @ _ridge(fit, truths[0].texture), truths[1].texture
    left = (truth - told).square().mean(dim=0) / truth.var(dim=0, unbiased=False)
    figures[TEXTURE] = float((1.0 - left).mean())
    return figures


def _image_tokens(
    images: Sequence[torch.Tensor], windows: Sequence[Sequence[Window]]
) -> dict[str, float]:
    """Return close and RSI read column by column off the global view's tokens."""
    columns = GLOBAL_SIZE[0] // TOKEN
    inputs, wanted = [], []
    for tokens, part in zip(images, windows, strict=True):
        by_column = tokens.float().unflatten(1, (-1, columns)).transpose(1, 2).flatten(2)
        inputs.append(by_column.flatten(0, 1))
        drawn = torch.from_numpy(np.stack([shown(window) for window in part]))
        series = drawn[:, [DRAWN.index("close"), DRAWN.index("rsi")]]
        wanted.append(series.unflatten(2, (columns, -1)).transpose(1, 2).flatten(0, 1))
    fit, score = _standard(*inputs)
    bars = LOOKBACK // columns
    told = (score @ _ridge(fit, wanted[0].flatten(1))).view(-1, 2, bars)

    def by_window(values: torch.Tensor, which: int) -> torch.Tensor:
        return values[:, which].reshape(-1, LOOKBACK)

    return {
        name: 1.0 - unexplained(by_window(wanted[1], which), by_window(told, which))
        for which, name in enumerate(("image tokens: close (R2)", "image tokens: RSI (R2)"))
    }
