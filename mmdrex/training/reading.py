"""What can be asked of a window: numbers and classes, read off the last prompt token's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mmdrex.observation.chart import Window
from mmdrex.training import printed, texture
from mmdrex.training.chart_windows import DRAWN, shown

READ_BARS = 60  # closes and RSI values asked for
CLASSES = {"order": 2, "zone": 3, "fifth": 5}  # MA10 over MA20; RSI 30 / 70; place in the band
SENSES = "VTL"  # charts, series, text
REACH = 4.0  # standardised figures are clipped here


class Reading(NamedTuple):
    """The true answers for a batch of windows."""

    close: torch.Tensor  # (B, READ_BARS) shares of the price panel's height
    rsi: torch.Tensor  # (B, READ_BARS) shares of 100
    order: torch.Tensor  # (B,) 1 where MA10 > MA20
    zone: torch.Tensor  # (B,) 0 below 30, 2 above 70
    fifth: torch.Tensor  # (B,) fifth of the Bollinger band the close lies in, from below
    texture: torch.Tensor  # (B, figures) see ``mmdrex.training.texture``
    printed: torch.Tensor  # (B, figures) see ``mmdrex.training.printed``


def answers(windows: list[Window]) -> Reading:
    """Return the true answers for windows of indicator rows."""
    drawn = np.stack([shown(window) for window in windows])
    last = [window[-1] for window in windows]
    rsi = np.array([row.rsi for row in last])
    band = np.array([row.upper - row.lower for row in last])
    height = np.array([row.close - row.lower for row in last])
    place = np.divide(height, band, out=np.full(len(band), 0.5), where=band > 0)

    def series(name: str) -> torch.Tensor:
        return torch.from_numpy(drawn[:, DRAWN.index(name), -READ_BARS:].copy())

    def classes(values: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.int64))

    return Reading(
        close=series("close"),
        rsi=series("rsi"),
        order=classes(np.array([row.ma10 > row.ma20 for row in last], dtype=np.float64)),
        zone=classes((rsi >= 30.0).astype(np.float64) + (rsi > 70.0)),
        fifth=classes(np.clip(np.floor(place * 5.0), 0, 4)),
        texture=torch.from_numpy(texture.texture(windows)),
        printed=torch.from_numpy(printed.printed(windows)),
    )


class ReadingHeads(nn.Module):
    """Linear heads, one per question, on states of shape (B, width).

    Parameters
    ----------
    width : int
    usual : Reading
        Of many windows: texture and printed numbers are asked for in their means and deviations.
    """

    def __init__(self, width: int, usual: Reading) -> None:
        super().__init__()
        for name in ("texture", "printed"):
            figures = getattr(usual, name)
            self.register_buffer(f"{name}_mean", figures.mean(dim=0))
            self.register_buffer(f"{name}_deviation", figures.std(dim=0) + 1e-6)
        self.series = nn.Linear(width, 2 * READ_BARS)
        self.texture = nn.Linear(width, len(texture.NAMES))
        self.printed = nn.Linear(width, len(printed.NAMES))
        self.said = nn.ModuleDict({name: nn.Linear(width, len(texture.NAMES)) for name in SENSES})
        self.classes = nn.ModuleDict({name: nn.Linear(width, n) for name, n in CLASSES.items()})

    def loss(
        self,
        states: torch.Tensor,
        truth: Reading,
        lines_weight: float = 1.0,
        classes_weight: float = 0.2,
    ) -> torch.Tensor:
        """Return the weighted sum of unexplained variances and of the classes' cross-entropies."""
        wanted = torch.cat([truth.close, truth.rsi], dim=1)
        spread = torch.cat([torch.full((READ_BARS,), v) for v in (0.075, 0.0145)])  # variances
        total: torch.Tensor = ((self.series(states) - wanted).square() / spread).mean()
        total = lines_weight * total
        total = total + (self.texture(states) - self.standard(truth, "texture")).square().mean()
        for name, head in self.classes.items():
            error = nn.functional.cross_entropy(head(states), getattr(truth, name))
            total = total + classes_weight * error
        return total

    def said_loss(self, states: torch.Tensor, truths: Mapping[str, Reading]) -> torch.Tensor:
        """Return the mean unexplained variance of the texture that each modality shows.

        So that a router may trust charts of one market beside prices of another, or these.
        """
        return torch.stack(
            [
                (self.said[name](states) - self.standard(truth, "texture")).square().mean()
                for name, truth in truths.items()
            ]
        ).mean()

    def printed_loss(
        self, states: torch.Tensor, there: torch.Tensor, truth: Reading
    ) -> torch.Tensor:
        """Return the mean unexplained variance of the numbers that the text prints, asked twice.

        Parameters
        ----------
        states : tensor of shape (B, width)
            Which tell all of them.
        there : tensor of shape (B, figures, width)
            At the token that follows each number, which tell it alone.
        truth : Reading
        """
        wanted = self.standard(truth, "printed")
        each = (there * self.printed.weight).sum(dim=-1) + self.printed.bias
        total: torch.Tensor = (self.printed(states) - wanted).square().mean()
        return total + (each - wanted).square().mean()

    def standard(self, truth: Reading, name: str) -> torch.Tensor:
        """Return ``texture`` or ``printed`` as asked for: (B, figures), standardised, clipped."""
        mean = self.get_buffer(f"{name}_mean")
        deviation = self.get_buffer(f"{name}_deviation")
        asked: torch.Tensor = ((getattr(truth, name) - mean) / deviation).clamp(-REACH, REACH)
        return asked


def unexplained(truth: torch.Tensor, told: torch.Tensor) -> float:
    """Return 1 - R2 over all windows and bars, the mean taken per bar."""
    spread = (truth - truth.mean(dim=0)).square().sum()
    return float((truth - told).square().sum() / spread)
