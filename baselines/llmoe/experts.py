"""LLMoE's experts: two feed-forward networks of one shape, one per outlook."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from baselines.llmoe.features import INPUTS

OUTLOOKS = ("optimistic", "pessimistic")
LEARNING_RATE = 1e-3  # Paper silent here and below: usual values
BATCH = 64
EPOCHS = 200
PATIENCE = 10  # epochs without a better loss on select


class Samples(NamedTuple):
    """Inputs (N, 55) and whether the next close was higher (N,)."""

    inputs: NDArray[np.float32]
    rises: NDArray[np.float32]


class Experts(nn.Module):
    """Both experts and the scale of their inputs."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(
            {
                outlook: nn.Sequential(
                    nn.Linear(INPUTS, hidden),
                    nn.ReLU(),
                    nn.Dropout(0.1),
                    nn.Linear(hidden, hidden // 2),
                    nn.ReLU(),
                    nn.Linear(hidden // 2, 1),
                )
                for outlook in OUTLOOKS
            }
        )
        self.register_buffer("mean", torch.zeros(INPUTS))
        self.register_buffer("deviation", torch.ones(INPUTS))

    def forward(self, inputs: torch.Tensor, outlook: str) -> torch.Tensor:
        """Return the logit of a rise, shape (B,), for inputs of shape (B, 55)."""
        scaled = ((inputs - self.mean) / self.deviation).clamp(-5.0, 5.0)
        logits: torch.Tensor = self.networks[outlook](scaled).squeeze(-1)
        return logits

    def chance(self, inputs: NDArray[np.float32], outlook: str) -> float:
        """Return the probability of a rise, from one input of shape (55,)."""
        self.eval()
        with torch.inference_mode():
            return float(torch.sigmoid(self(torch.from_numpy(inputs)[None], outlook)))


def trained_experts(
    train: dict[str, Samples], select: dict[str, Samples], hidden: int, seed: int
) -> Experts:
    """Return experts fitted on the samples of their outlook, stopped on ``select``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        experts = Experts(hidden)
        every = np.concatenate([samples.inputs for samples in train.values()])
        experts.mean.copy_(torch.from_numpy(every.mean(axis=0)))
        experts.deviation.copy_(torch.from_numpy(every.std(axis=0) + 1e-8))
        for outlook in OUTLOOKS:
            _train(experts, outlook, train[outlook], select[outlook])
    return experts.eval()


def _train(experts: Experts, outlook: str, train: Samples, select: Samples) -> None:
    network = experts.networks[outlook]
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    inputs, rises = torch.from_numpy(train.inputs), torch.from_numpy(train.rises)
    best, best_loss, waited = copy.deepcopy(network.state_dict()), float("inf"), 0
    for _ in range(EPOCHS):
        experts.train()
        for rows in torch.randperm(len(inputs)).split(BATCH):
            loss = functional.binary_cross_entropy_with_logits(
                experts(inputs[rows], outlook), rises[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        chosen = _loss(experts, outlook, select)
        if chosen < best_loss:
            best, best_loss, waited = copy.deepcopy(network.state_dict()), chosen, 0
        else:
            waited += 1
            if waited >= PATIENCE:
                break
    network.load_state_dict(best)


@torch.inference_mode()
def _loss(experts: Experts, outlook: str, samples: Samples) -> float:
    experts.eval()
    logits = experts(torch.from_numpy(samples.inputs), outlook)
    rises = torch.from_numpy(samples.rises)
    return float(functional.binary_cross_entropy_with_logits(logits, rises))
