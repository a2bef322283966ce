"""A trained router made to begin again, on the backbone that it stands on."""

from __future__ import annotations

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from mmdrex.router.router import ADAPTER, Router


def forget(router: Router, seed: int) -> None:
    """Make adapters and heads fresh again; backbone, series' projection and scaler stay."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in router.vlm.modules():
            if isinstance(module, LoraLayer):
                for name in (ADAPTER, *router.rules):
                    module.reset_lora_parameters(name, True)  # type: ignore[no-untyped-call]  # PEFT
        router.heads.norm.reset_parameters()
        for layer in router.heads.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
    router.refresh()
