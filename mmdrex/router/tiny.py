"""The embedded backbone: Qwen2.5-VL's own class at about 8 million parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from mmdrex.router.vocabulary import SPECIAL, VOCABULARY

HIDDEN, HEADS, KEY_VALUE_HEADS, LAYERS = 256, 4, 2, 6


def tiny_config() -> Qwen2_5_VLConfig:
    """Return the configuration of ``tiny``: 7.7 M parameters, 128 image tokens an observation."""
    text: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": 3 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "max_position_embeddings": 2048,
        # The width of an image gets the last, slowest frequencies. At the usual 10,000 a column
        # turns them by 0.003 rad and columns can't be told apart; here by up to half a radian.
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 4.0,
            "mrope_section": [4, 12, 16],  # of a head's 32 frequencies: time, height, width
        },
        "bos_token_id": None,
        "eos_token_id": SPECIAL["<|im_end|>"],
        "pad_token_id": SPECIAL["<|endoftext|>"],
    }
    vision: dict[str, Any] = {
        "depth": 4,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_heads": 3,
        "out_hidden_size": HIDDEN,
        "patch_size": 14,
        "temporal_patch_size": 1,
        "window_size": 112,
        "fullatt_block_indexes": [0, 1, 2, 3],  # a chart is small: windows would save no time
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=SPECIAL["<|image_pad|>"],
        video_token_id=SPECIAL["<|video_pad|>"],
        vision_start_token_id=SPECIAL["<|vision_start|>"],
        vision_end_token_id=SPECIAL["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def fresh_tiny(seed: int = 42) -> Qwen2_5_VLForConditionalGeneration:
    """Return ``tiny`` with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2_5_VLForConditionalGeneration(tiny_config())


def embed_patches(patch_embed: torch.nn.Module, patches: torch.Tensor) -> torch.Tensor:
    """Return what Qwen2.5-VL's patch embedding returns, as one matrix product.

    Its 3D convolution has stride equal to its kernel; on a CPU the backward pass of the
    convolution takes a third of a training step, that of the product almost nothing.
    """
    weight = patch_embed.get_parameter("proj.weight")
    return functional.linear(patches.to(weight.dtype), weight.flatten(1))
