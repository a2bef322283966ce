"""A trained router made to begin again, on the backbone that it stands on."""

from __future__ import annotations

import torch
from peft.tuners.lora import LoraLayer

from mmdrex.router.router import ADAPTER, Router
from mmdrex.router.storage import small_heads


def forget(router: Router, seed: int) -> None:
    """Make adapters and heads fresh again; backbone, series' projection and scaler stay."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in router.vlm.modules():
            if isinstance(module, LoraLayer):
                for name in (ADAPTER, *router.rules):
                    module.reset_lora_parameters(name, True)  # type: ignore[no-untyped-call]  # PEFT
        router.heads.norm.reset_parameters()
        small_heads(router)
    router.refresh()
