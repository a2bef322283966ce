"""What a killed stage 0 goes on from: its language model's weights, moments and draws."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from mmdrex.data.files import replacing
from mmdrex.training.checkpoints import disk_errors
from mmdrex.training.run_states import load_optimizer, save_optimizer

WEIGHTS, STATE = "weights.safetensors", "state.json"
STEPS = 250  # between two states kept: half a percent of the time


@dataclass(frozen=True)
class Kept:
    """Where states are kept, and the digest of the settings, data and weights they grew from."""

    folder: Path
    made_of: str

    def save(
        self,
        step: int,
        parameters: Sequence[torch.Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
        rng: np.random.Generator,
    ) -> None:
        """Write what holds after ``step`` steps aside and rename it."""
        with disk_errors(self.folder.parent, self.folder), replacing(self.folder) as aside:
            aside.mkdir()
            weights = {str(i): value.detach().contiguous() for i, value in enumerate(parameters)}
            save_file(weights, aside / WEIGHTS)
            for i, optimizer in enumerate(optimizers):
                (aside / str(i)).mkdir()
                save_optimizer(optimizer, aside / str(i))
            state = {"step": step, "made of": self.made_of, "draws": rng.bit_generator.state}
            (aside / STATE).write_text(json.dumps(state), encoding="utf-8")

    @torch.no_grad()
    def load(
        self,
        parameters: Sequence[torch.Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
        rng: np.random.Generator,
    ) -> int:
        """Set all to the last state kept and return its step, 0 if there is none of this run."""
        if not (self.folder / STATE).exists():
            return 0
        state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        if state["made of"] != self.made_of:
            return 0
        weights = load_file(self.folder / WEIGHTS)
        for i, value in enumerate(parameters):
            value.copy_(weights[str(i)])
        for i, optimizer in enumerate(optimizers):
            load_optimizer(optimizer, self.folder / str(i))
        rng.bit_generator.state = state["draws"]
        return int(state["step"])
