"""The layers that carry adapters, for all five adapters side by side.

PEFT runs several adapters in one batch by copying every input once per adapter and projecting each
row of it. Here what all share is computed once, an adapter's own part is a batched product of its
two small matrices, and the last layer, of which only the last token is read, computes no other.
The results are the same; an update takes a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.nn import functional
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb


def last_states(
    layers: Sequence[Any],
    norm: nn.Module,
    states: torch.Tensor,
    rotation: tuple[torch.Tensor, torch.Tensor],
    adapters: Sequence[str],
) -> torch.Tensor:
    """Return the last token's state after some layers under each adapter, without dropout.

    Parameters
    ----------
    layers : sequence of Qwen2_5_VLDecoderLayer
        Those with adapters, to the last.
    norm : module
        What the model applies after them.
    states : tensor of shape (B, L, width)
        That enter the first of them: the same for all adapters.
    rotation : pair of tensor of shape (B, L, head width)
        Cosines and sines of the positions.
    adapters : sequence of str of length K

    Returns
    -------
    tensor of shape (K, B, width)
    """
    states = states[None]
    for number, layer in enumerate(layers, start=1):
        asked = slice(-1, None) if number == len(layers) else slice(None)
        attended = _attention(
            layer.self_attn, layer.input_layernorm(states), rotation, adapters, asked
        )
        states = states[:, :, asked] + attended
        states = states + layer.mlp(layer.post_attention_layernorm(states))
    last: torch.Tensor = norm(states[:, :, -1])
    return last


def _attention(
    attention: Any,
    states: torch.Tensor,
    rotation: tuple[torch.Tensor, torch.Tensor],
    adapters: Sequence[str],
    asked: slice,
) -> torch.Tensor:
    """Return the causal self-attention (K, B, asked, width) of states (1 or K, B, L, width)."""
    count, rows = len(adapters), states.shape[1]

    def heads(linear: nn.Module, source: torch.Tensor) -> torch.Tensor:
        out = _project(linear, source, adapters).expand(count, -1, -1, -1)
        split: torch.Tensor = out.unflatten(-1, (-1, attention.head_dim))
        return split.flatten(0, 1).transpose(1, 2)

    query = heads(attention.q_proj, states[:, :, asked])
    key, value = heads(attention.k_proj, states), heads(attention.v_proj, states)
    cosine, sine = (part.repeat(count, 1, 1) for part in rotation)
    query, _ = apply_rotary_pos_emb(query, query, cosine[:, asked], sine[:, asked])
    _, key = apply_rotary_pos_emb(key, key, cosine, sine)
    groups = attention.num_key_value_groups
    out = _attend(
        query * attention.scaling,
        key.repeat_interleave(groups, dim=1),
        value.repeat_interleave(groups, dim=1),
    )
    joined = out.transpose(1, 2).flatten(2).unflatten(0, (count, rows))
    return _project(attention.o_proj, joined, adapters)


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return what scaled queries, all or the last one only, read of the values up to their own."""
    asked, length = query.shape[2], key.shape[2]
    if query.device.type != "cpu":
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=asked == length, scale=1.0
        )
    # On a CPU the fused kernel's backward pass takes three times as long as this one's.
    scores = query @ key.transpose(-1, -2)
    if asked == length:
        later = torch.full((length, length), -torch.inf, dtype=scores.dtype).triu(1)
        scores = scores + later
    return scores.softmax(-1) @ value


def _project(linear: nn.Module, states: torch.Tensor, adapters: Sequence[str]) -> torch.Tensor:
    """Return the projection (K, B, L, out) of states (1 or K, B, L, in) under each adapter.

    One without adapters has the leading axis of its input.
    """
    if not isinstance(linear, LoraLayer):
        projected: torch.Tensor = linear(states)
        return projected
    base: torch.Tensor = linear.get_base_layer()(states)
    down = torch.stack([_weight(linear.lora_A[name]) for name in adapters])  # (K, r, in)
    up = torch.stack(
        [_weight(linear.lora_B[name]) * linear.scaling[name] for name in adapters]
    )  # (K, out, r)
    flat = states.flatten(1, 2).to(down.dtype)
    own = (flat @ down.transpose(1, 2)) @ up.transpose(1, 2)
    whole: torch.Tensor = base + own.unflatten(1, states.shape[1:3]).to(base.dtype)
    return whole


def _weight(linear: Any) -> torch.Tensor:
    weight: torch.Tensor = linear.get_parameter("weight")
    return weight
