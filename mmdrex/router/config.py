"""What a saved router says of itself: ``config.json`` with ``model_type: mmdrex``."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from mmdrex.observation.series import FEATURES
from strategies import EXPERTS


class MMDREXConfig(PreTrainedConfig):
    """Configuration of a router.

    Attributes
    ----------
    backbone : str
        A name of ``mmdrex.router.backbone.BACKBONES``, a folder or a hub id: the frozen VLM.
    backbone_revision : str or None
        Commit of the hub repository the adapters belong to.
    backbone_digest : str or None
        Of the weights of a ``tiny``, which lie in the router's own folder or in the package.
    experts : list of str
        Names of the experts, in the order of the weights.
    rules : list of list of str
        Names of each expert's rules, in the order of its policy head.
    features : list of str
        Columns of the series (Table 12).
    lookback : int
        Bars an observation shows; the paper's T_in.
    patch : int
        Bars per soft token of the series.
    global_size, local_size : list of int
        Width and height of the two charts, in pixels.
    lora_layers : int or None
        How many of the last layers carry adapters; None is every layer (the paper).
    modalities : str
        Which of V, T and L the router is given.
    kappa : float
        Concentration of the router's Dirichlet in training (see ``docs/paper.md``).
    trained : dict of str to list of two str
        First and last date whose outcomes training has seen, by class of assets
        (``mmdrex.data.splits.asset_class``).
    training : dict
        What made this router: stages, seeds, settings, digests.
    """

    model_type = "mmdrex"

    backbone: str = "tiny"
    backbone_revision: str | None = None
    backbone_digest: str | None = None
    experts: list[str] = field(default_factory=lambda: list(EXPERTS))
    rules: list[list[str]] = field(default_factory=lambda: [list(r) for r in EXPERTS.values()])
    features: list[str] = field(default_factory=lambda: list(FEATURES))
    lookback: int = 100
    patch: int = 10
    global_size: list[int] = field(default_factory=lambda: [280, 224])
    local_size: list[int] = field(default_factory=lambda: [168, 224])
    lora_layers: int | None = None
    modalities: str = "VTL"
    kappa: float = 10.0
    trained: dict[str, list[str]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


AutoConfig.register("mmdrex", MMDREXConfig, exist_ok=True)
