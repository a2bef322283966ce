"""LSTM (MM-DREX, Appendix D.12)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from baselines.network import WIDTH, Network


class Recurrent(nn.Module):
    """An LSTM whose last hidden state is read by a linear head; (B, k, 17) to (B,)."""

    def __init__(self, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(WIDTH, hidden, layers, batch_first=True, dropout=between)
        self.head = nn.Linear(hidden, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits (B,)."""
        states, _ = self.lstm(windows)  # (B, k, hidden)
        logits: Tensor = self.head(states[:, -1])[:, 0]
        return logits


@dataclass
class LSTM(Network):
    """A recurrent network on the look-back, pooled over the assets given.

    Parameters
    ----------
    hidden, layers, dropout : int, int, float
        qlib's 64 and 2, and dropout between the layers.
    """

    name = "lstm"

    hidden: int = 64
    layers: int = 2
    dropout: float = 0.1

    def network(self) -> nn.Module:
        """Return the untrained network."""
        return Recurrent(self.hidden, self.layers, self.dropout)
