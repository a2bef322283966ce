"""Acting in windows and asking the oracle what it earned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from mmdrex.router.router import Router
from mmdrex.training.episodes import Rows, Schedule
from mmdrex.training.oracle import Oracle
from mmdrex.training.rl_config import RLConfig
from mmdrex.training.rollout import Rewards, Rollout, roll_out, visited
from mmdrex.training.selection import select_figures, sharpest
from mmdrex.training.trunks import Look, Trunks, look
from mmdrex.training.update import autocast


class Trade(NamedTuple):
    """A router, the windows it may meet, and what they pay."""

    router: Router
    oracle: Oracle
    trunks: Trunks
    select: Rows
    rewards: Rewards
    config: RLConfig

    def roll_out(self, steps: Schedule, rng: np.random.Generator) -> Rollout:
        """Return what the policies draw in some steps of the schedule."""
        rows, kappa = visited(steps), self.router.config.kappa
        return roll_out(self.rewards, steps, rows, self._look(rows), self.config, kappa, rng)

    def on_select(self) -> dict[str, float]:
        """Return the figures by which the checkpoint is chosen."""
        seen = self._look(self.select)
        return select_figures(self.oracle, self.rewards, self.select, seen, self.config)

    @torch.no_grad()
    def sharpen(self) -> tuple[float, float]:
        """Multiply the router's logits by the factor that earns most on `select`.

        Returns
        -------
        factor, reward : float
            The mean reward on `select` is that of the multiplied logits.
        """
        seen = self._look(self.select)
        factor, reward = sharpest(self.oracle, self.rewards, self.select, seen, self.config)
        for parameter in self.router.heads.router.parameters():
            parameter.mul_(factor)
        return factor, reward

    def _look(self, rows: Sequence[int] | Rows) -> Look:
        with autocast(self.config):
            return look(
                self.router,
                self.trunks,
                [int(row) for row in rows],
                self.config.process_index,
                self.config.world_size,
            )
