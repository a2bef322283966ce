"""What is trained beside the adapters: the series' soft tokens and the heads on the last state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

REACH = 10.0  # standardised features are clipped here: one absurd bar must not drown the rest


class SeriesProjection(nn.Module):
    """Series to soft tokens: standardise, cut into patches of bars, project (eqs. E.5 to E.7).

    ``mean`` and ``deviation`` are those of the training split and travel with the weights.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, features: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.project = nn.Linear(features * patch, width)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Return soft tokens (B, lookback / patch, width) of series (B, lookback, features)."""
        standard = ((series - self.mean) / self.deviation).clamp(-REACH, REACH)
        patches: torch.Tensor = standard.unflatten(1, (-1, self.patch)).flatten(2)
        tokens: torch.Tensor = self.project(patches)
        return tokens


class Outputs(NamedTuple):
    """What the heads read off the states of one batch."""

    weights: torch.Tensor  # (B, K) logits of the router, eq. 4
    policies: dict[str, torch.Tensor]  # expert -> (B, rules) logits, eq. 6
    values: dict[str, torch.Tensor]  # expert -> (B,), eq. 7


class Heads(nn.Module):
    """LayerNorm and linear maps on the last token's state (eqs. E.1 and 7)."""

    def __init__(self, width: int, experts: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.router = nn.Linear(width, len(experts))
        self.policies = nn.ModuleDict(
            {name: nn.Linear(width, len(rules)) for name, rules in experts.items()}
        )
        self.values = nn.ModuleDict({name: nn.Linear(width, 1) for name in experts})

    def forward(self, states: torch.Tensor) -> Outputs:
        """Return logits and values from states (1 + K, B, width): the router's, then each expert's.

        The experts are in the order of the policies.
        """
        own = dict(zip(self.policies, states[1:], strict=True))
        return Outputs(
            self.router(self.norm(states[0])),
            {name: self.policies[name](state) for name, state in own.items()},
            {name: self.values[name](state)[:, 0] for name, state in own.items()},
        )
