"""The frozen vision-language model and the adapters on it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration
from transformers.utils import logging

from mmdrex.errors import RouterError

TINY = Path(__file__).parent / "checkpoints" / "tiny"
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Backbone:
    """How a backbone is loaded and fed; sizes are (width, height) in pixels."""

    path: str
    global_size: tuple[int, int] = (560, 448)
    local_size: tuple[int, int] = (336, 448)
    lora_layers: int | None = None  # the last so many; None: every layer (the paper)


# Adding a backbone is one line here. Any other name is taken for a folder or a hub id.
BACKBONES = {
    "tiny": Backbone(str(TINY / "backbone"), (280, 224), (168, 224), lora_layers=2),
    "qwen2.5-vl-3b": Backbone("Qwen/Qwen2.5-VL-3B-Instruct"),
    "qwen2.5-vl-7b": Backbone("Qwen/Qwen2.5-VL-7B-Instruct"),
    "qwen2.5-vl-32b": Backbone("Qwen/Qwen2.5-VL-32B-Instruct"),
    "qwen2.5-vl-72b": Backbone("Qwen/Qwen2.5-VL-72B-Instruct"),
}


def backbone(name: str) -> Backbone:
    """Return a known backbone, or the settings of Qwen2.5-VL for a folder or hub id."""
    return BACKBONES.get(name) or Backbone(name)


def load_backbone(
    name: str, path: str | Path | None = None, **kwargs: Any
) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerBase]:
    """Return the frozen model and its tokenizer.

    Parameters
    ----------
    name : str
        A name of ``BACKBONES``, a folder or a hub id of a Qwen2.5-VL.
    path : path, optional
        Where its files are, if not where the name says.
    **kwargs
        Passed through to transformers: ``revision``, ``token``, ``cache_dir``,
        ``local_files_only``, ``attn_implementation``, ``dtype``, ``device_map``,
        ``quantization_config``.
    """
    source = str(path or backbone(name).path)
    hub = {
        key: kwargs[key]
        for key in ("revision", "token", "cache_dir", "local_files_only")
        if key in kwargs
    }
    # tiny is stored as float16 and computed in float32; larger ones as they were trained.
    kwargs.setdefault("dtype", torch.float32 if name == "tiny" else "auto")
    with _quiet(name == "tiny"):
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            source, use_safetensors=True, **kwargs
        )
    tokenizer = AutoTokenizer.from_pretrained(source, **hub)
    return model.requires_grad_(False).eval(), tokenizer


@contextmanager
def _quiet(quiet: bool) -> Iterator[None]:
    """Hide transformers' progress bar: a model of 15 MB is loaded before it can be read."""
    shown = logging.is_progress_bar_enabled()
    if quiet:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if quiet and shown:
            logging.enable_progress_bar()


def fresh_lora(layers: int, lora_layers: int | None) -> LoraConfig:
    """Return the paper's LoRA (Appendix E) on the last ``lora_layers`` of ``layers`` layers."""
    first = 0 if lora_layers is None else layers - lora_layers
    # The pattern names the language model: the vision tower carries no adapter.
    return LoraConfig(
        r=16,  # r
        lora_alpha=32,  # alpha
        lora_dropout=0.05,  # p
        bias="none",
        target_modules=list(PROJECTIONS),
        layers_to_transform=list(range(first, layers)),
        layers_pattern="layers",
    )


def add_adapters(
    model: Qwen2_5_VLForConditionalGeneration, names: Sequence[str], lora: LoraConfig
) -> PeftModel:
    """Return the model with fresh adapters of the given names (their product is zero)."""
    with _peft_on_transformers_5():
        adapted = get_peft_model(model, lora, adapter_name=names[0])
        for name in names[1:]:
            adapted.add_adapter(name, lora)
    return adapted


def load_adapters(
    model: Qwen2_5_VLForConditionalGeneration, folder: Path, names: Sequence[str]
) -> PeftModel:
    """Return the model with the adapters of a saved router, one subfolder each."""
    with _peft_on_transformers_5():
        adapted = PeftModel.from_pretrained(model, str(folder / names[0]), adapter_name=names[0])
        for name in names[1:]:
            adapted.load_adapter(str(folder / name), name)
    for name in names:  # PEFT passes over keys that it does not know
        with safe_open(folder / name / "adapter_model.safetensors", "pt") as file:
            kept = set(file.keys())
        wanted = get_peft_model_state_dict(adapted, adapter_name=name, save_embedding_layers=False)
        if other := kept ^ wanted.keys():
            raise RouterError(
                f"{folder / name} holds other weights than its settings say: {min(other)}; save or "
                "fetch it again"
            )
    return adapted


@contextmanager
def _peft_on_transformers_5() -> Iterator[None]:
    """Hide one deprecation: PEFT 0.21 reads a property that transformers 5 renamed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        yield
