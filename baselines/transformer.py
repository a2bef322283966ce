"""Transformer (MM-DREX, Appendix D.13)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.network import WIDTH, Network

LONGEST = 512  # bars of a look-back


class SelfAttention(nn.Module):
    """An encoder whose last place is read by a linear head; (B, k, 17) to (B,)."""

    places: Tensor

    def __init__(self, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Linear(WIDTH, width)
        self.register_buffer("places", _places(width), persistent=False)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits (B,)."""
        states = self.enter(windows) + self.places[: windows.shape[1]]  # (B, k, width)
        logits: Tensor = self.head(self.encoder(states)[:, -1])[:, 0]
        return logits


def _places(width: int) -> Tensor:
    """Return the sines and cosines (LONGEST, width) of Vaswani et al. (2017, arXiv 1706.03762)."""
    place = torch.arange(LONGEST)[:, None]
    angle = place * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    return torch.stack((angle.sin(), angle.cos()), dim=2).reshape(LONGEST, width)


@dataclass
class Transformer(Network):
    """Self-attention over the look-back, pooled over the assets given.

    Parameters
    ----------
    width, heads, layers, dropout : int, int, int, float
        qlib's d of 64, 2 heads and 2 layers.
    """

    name = "transformer"

    learning_rate: float = 1e-4
    weight_decay: float = 1e-3
    patience: int = 5
    width: int = 64
    heads: int = 2
    layers: int = 2
    dropout: float = 0.1

    def network(self) -> nn.Module:
        """Return the untrained network."""
        return SelfAttention(self.width, self.heads, self.layers, self.dropout)
