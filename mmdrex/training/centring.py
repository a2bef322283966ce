"""A fresh router head starts from what tells windows apart, not from what they share."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from mmdrex.router.router import ADAPTER, Router
from mmdrex.training.episodes import Rows
from mmdrex.training.rl_config import RLConfig
from mmdrex.training.trunks import Trunks
from mmdrex.training.update import autocast

WINDOWS = 128  # that mean and spread are taken of


@torch.no_grad()
def centre(router: Router, trunks: Trunks, rows: Rows, config: RLConfig) -> None:
    """Let the router's LayerNorm standardise the last token's states of windows trained on.

    States have a common part five times their spread: a gradient step would move the answers to
    all windows together. Weight and bias of the LayerNorm are where a standardisation fits; they
    go on learning from there. One that has learned before is left as it is.

    Parameters
    ----------
    router : Router
    trunks : Trunks
    rows : ndarray of int
        Windows trained on; ``WINDOWS`` of them are looked at.
    config : RLConfig
    """
    norm = router.heads.norm
    if not (bool((norm.weight == 1.0).all()) and bool((norm.bias == 0.0).all())):
        return
    some = rows[np.linspace(0, len(rows) - 1, min(WINDOWS, len(rows))).astype(int)].tolist()
    with autocast(config):
        states = torch.cat([router.states(trunks(row), (ADAPTER,))[0] for row in some])
    plain = functional.layer_norm(states.float(), norm.normalized_shape, eps=norm.eps)
    mean = plain.mean(dim=0)
    spread = (plain - mean).square().mean().sqrt()
    if spread == 0.0:  # of one window there is none
        return
    norm.weight.fill_(float(1.0 / spread))
    norm.bias.copy_(-mean / spread)
    router.refresh()
