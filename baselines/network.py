"""What the LSTM and the Transformer share: the training loop, exact inference, safetensors."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from baselines.baseline import Array
from baselines.features import LOOKBACK, feature_windows
from baselines.supervised import Inputs, Samples, Supervised
from mmdrex.observation.series import FEATURES

WEIGHTS = "model.safetensors"
WIDTH = len(FEATURES)
CHUNK = 256  # rows of one forward pass, always: a matrix product may round by its size


class Standardised(nn.Module):
    """A network behind the mean and deviation of the training split; (B, k, 17) to logits (B,)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.register_buffer("deviation", torch.ones(WIDTH))

    def forward(self, windows: Tensor) -> Tensor:
        """Return the logit of a rise, shape (B,)."""
        logits: Tensor = self.network((windows - self.mean) / self.deviation)
        return logits


@dataclass
class Network(Supervised):
    """Base of the networks: they see the 17 features over the look-back, standardised."""

    lookback: int = LOOKBACK
    batch: int = 256
    epochs: int = 100
    patience: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 0.0

    @abstractmethod
    def network(self) -> nn.Module:
        """Return the untrained network, (B, k, 17) to (B,)."""

    def inputs(self, bars: pd.DataFrame) -> Inputs:
        """Return the look-back that ends with each bar, shape (T, k, 17)."""
        return feature_windows(bars, self.lookback)

    def learn(self, train: Samples, select: Samples) -> None:
        """Train by Adam until the loss on ``select`` has not fallen for ``patience`` epochs."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # of the fork: weights and dropout
            self.model = self._trained(train, select)

    def _trained(self, train: Samples, select: Samples) -> Standardised:
        model = Standardised(self.network())
        model.mean += torch.from_numpy(train.inputs.mean(axis=(0, 1)))
        deviation = train.inputs.std(axis=(0, 1))
        model.deviation.copy_(torch.from_numpy(np.where(deviation > 0.0, deviation, 1.0)))
        inputs, rose = torch.from_numpy(train.inputs), torch.from_numpy(train.rose).float()
        wanted = torch.from_numpy(select.rose)
        adam = torch.optim.Adam(
            model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        best, kept, waited = np.inf, copy.deepcopy(model.state_dict()), 0
        for _ in range(self.epochs):
            model.train()
            for rows in torch.randperm(len(rose)).split(self.batch):  # (B,)
                loss = binary_cross_entropy_with_logits(model(inputs[rows]), rose[rows])
                adam.zero_grad()
                loss.backward()
                adam.step()
            logits = torch.from_numpy(_logits(model, select.inputs))
            lost = float(binary_cross_entropy_with_logits(logits, wanted))
            waited += 1
            if lost < best:
                best, kept, waited = lost, copy.deepcopy(model.state_dict()), 0
            if waited >= self.patience:
                break
        model.load_state_dict(kept)
        return model.eval()

    def probability(self, inputs: Inputs) -> Array:
        """Return the probability of a rise, shape (N,)."""
        probability: Array = 1.0 / (1.0 + np.exp(-_logits(self.model, inputs)))
        return probability

    def files(self) -> dict[str, bytes]:
        """Return weights, mean and deviation as safetensors."""
        return {} if self.trained is None else {WEIGHTS: save(self.model.state_dict())}

    def restore(self, learned: dict[str, Any], folder: Path) -> None:
        """Take back the weights and the dead zone."""
        self.dead_zone = float(learned["dead_zone"])
        self.model = Standardised(self.network())
        self.model.load_state_dict(load((folder / WEIGHTS).read_bytes()))
        self.model.eval()


def _logits(model: nn.Module, inputs: Inputs) -> Array:
    """Return the logits (N,), each computed in a pass of ``CHUNK`` rows at its own place in it.

    A prefix of the rows so gives exactly the first of the logits.
    """
    model.eval()
    rows = len(inputs)
    padded = np.zeros((-(-rows // CHUNK) * CHUNK, *inputs.shape[1:]), dtype=np.float32)
    padded[:rows] = inputs
    with torch.no_grad():
        parts = [model(torch.from_numpy(part)) for part in np.split(padded, len(padded) // CHUNK)]
    return torch.cat(parts).double().numpy()[:rows]
