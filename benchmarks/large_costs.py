"""What training a router on a Qwen2.5-VL costs: shapes, FLOPs, estimates of memory and time.

Read by ``large.py``, which prints the estimates and takes steps to compare with.

Model FLOPs are those that a step needs: products with weights and attention (a causal one over its
half), forward and backward; frozen weights have no gradient of their own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from mmdrex.router.backbone import BACKBONES, add_adapters, fresh_lora
from mmdrex.router.vocabulary import SPECIAL

PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # dense bfloat16, FLOP/s, data sheets
GOAL = 0.40
EXPERTS = 4

# Layers, width, heads, key-value heads, feed-forward width, vocabulary, tied; tower's feed-forward:
# from the config.json of Qwen/Qwen2.5-VL-{3B,7B,72B}-Instruct.
SHAPES = {
    "3B": (36, 2048, 16, 2, 11008, 151936, True, 3420),
    "7B": (28, 3584, 28, 4, 18944, 152064, False, 3420),
    "72B": (80, 8192, 64, 8, 29568, 152064, False, 3456),
}


def shape(size: str, layers: int | None = None, blocks: int = 32) -> Qwen2_5_VLConfig:
    """Return the configuration of a Qwen2.5-VL, with fewer layers or vision blocks if asked."""
    depth, width, heads, pairs, inner, vocabulary, tied, tower = SHAPES[size]
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": layers or depth,
            "num_attention_heads": heads,
            "num_key_value_heads": pairs,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [16, 24, 24],
            },
            "bos_token_id": None,
            "eos_token_id": SPECIAL["<|im_end|>"],
            "pad_token_id": SPECIAL["<|endoftext|>"],
        },
        vision_config={
            "depth": blocks,
            "hidden_size": 1280,
            "intermediate_size": tower,
            "num_heads": 16,
            "out_hidden_size": width,
            "fullatt_block_indexes": [block for block in (7, 15, 23, 31) if block < blocks],
        },
        image_token_id=SPECIAL["<|image_pad|>"],
        video_token_id=SPECIAL["<|video_pad|>"],
        vision_start_token_id=SPECIAL["<|vision_start|>"],
        vision_end_token_id=SPECIAL["<|vision_end|>"],
        tie_word_embeddings=tied,
    )


def bare(config: Qwen2_5_VLConfig, device: str) -> Qwen2_5_VLForConditionalGeneration:
    """Return a frozen model in bfloat16; on ``meta`` it has shapes and no numbers."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = Qwen2_5_VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    return model.requires_grad_(False).eval()


# -- what a step costs ----------------------------------------------------------------------------


class Work(NamedTuple):
    """FLOPs of one window's forward pass."""

    layers: float  # the language model under one adapter, adapter included
    tower: float  # both charts to image tokens
    answer: float  # logits of the answer's tokens


def adapter_flops(config: Qwen2_5_VLConfig, tokens: float, rank: int = 16) -> float:
    """Return the FLOPs of one adapter's own products over all layers."""
    text = config.text_config
    width, pairs = text.hidden_size, text.num_key_value_heads
    key = width // text.num_attention_heads * pairs
    sides = 2 * (width + width) + 2 * (width + key)  # q and o, k and v: in + out
    return 2.0 * tokens * rank * sides * text.num_hidden_layers


def work(config: Qwen2_5_VLConfig, tokens: float, answer: float = 0.0) -> Work:
    """Return the FLOPs of a forward pass over ``tokens``, the answer's included."""
    text, tower = config.text_config, config.vision_config
    width, inner = text.hidden_size, text.intermediate_size
    key = width // text.num_attention_heads * text.num_key_value_heads
    weights = 2 * width * width + 2 * width * key + 3 * width * inner
    attention = 2 * 2 * width * tokens / 2  # scores and mixing, per token; causal: half of them
    layers = tokens * (2 * weights + attention) * text.num_hidden_layers
    known, own = BACKBONES["qwen2.5-vl-3b"], tower.hidden_size
    seen = 0.0
    for wide, high in (known.global_size, known.local_size):
        patches = (wide // tower.patch_size) * (high // tower.patch_size)
        full = len(tower.fullatt_block_indexes)
        window = (tower.window_size // tower.patch_size) ** 2
        reach = full * patches + (tower.depth - full) * window  # keys per patch, over all blocks
        blocks = 2 * (4 * own * own + 3 * own * tower.intermediate_size) * tower.depth
        pixels = 2 * 3 * tower.temporal_patch_size * tower.patch_size**2 * own
        merged = own * tower.spatial_merge_size**2
        merger = 2 * (merged * merged + merged * width) / tower.spatial_merge_size**2
        seen += patches * (blocks + 4 * own * reach + pixels + merger)
    return Work(
        layers + adapter_flops(config, tokens),
        seen,
        2.0 * answer * width * text.vocab_size,
    )


def backward(config: Qwen2_5_VLConfig, tokens: float, forward: float) -> float:
    """Return the FLOPs of the backward pass: inputs' gradients, attention twice, adapters' own."""
    text = config.text_config
    attention = tokens * 2 * text.hidden_size * tokens * text.num_hidden_layers
    return forward + attention + adapter_flops(config, tokens)


def sft_flops(config: Qwen2_5_VLConfig, tokens: float, answer: float) -> float:
    """Return the FLOPs of one window in a step of SFT."""
    needed = work(config, tokens, answer)
    return needed.layers + backward(config, tokens, needed.layers) + 2 * needed.answer


def rl_forward(config: Qwen2_5_VLConfig, tokens: float, adapters: int) -> float:
    """Return the FLOPs that reading one window under some adapters needs.

    Of the last layer only the keys, values and the last token count; the first layer's queries,
    keys and values are projected once for all adapters.
    """
    text = config.text_config
    width, depth = text.hidden_size, text.num_hidden_layers
    key = width // text.num_attention_heads * text.num_key_value_heads
    one = work(config, tokens).layers * (depth - 1) / depth + 2 * tokens * 2 * width * key
    return adapters * one - (adapters - 1) * 2 * tokens * (width * width + 2 * width * key)


def rl_flops(config: Qwen2_5_VLConfig, tokens: float, adapters: int) -> float:
    """Return the FLOPs of one window in a gradient step of RL under some adapters.

    Below the first adapters nothing learns: their layer's input needs no gradient.
    """
    text = config.text_config
    width, depth = text.hidden_size, text.num_hidden_layers
    key = width // text.num_attention_heads * text.num_key_value_heads
    forward = rl_forward(config, tokens, adapters)
    own = adapters * adapter_flops(config, tokens)
    attention = adapters * tokens * 2 * width * tokens * (depth - 1)
    unread = 2 * tokens * (width * width + 2 * width * key)
    return 2 * forward + own + attention - unread


# -- estimates ------------------------------------------------------------------------------------

MEMORY = 141.0  # gigabytes of an H200
# Tokens of a window: 512 of two charts, 10 of the series, text as Qwen's published splitting
# pattern cuts it (517 pieces), the chat's own; an answer.
PROMPT, ANSWER = 1060, 60
SFT_WINDOWS, RL_WINDOWS = 16, 64  # of a step; of an update: 16 episodes x 4 (the paper's)


class Estimate(NamedTuple):
    """Gigabytes per GPU and seconds."""

    weights: float
    learned: float
    sft: float
    rl: float
    sft_seconds: float  # a thousand windows, one pass
    rl_seconds: float  # one update of 64 windows: a look, 1 pass of the router, 4 of the experts


def parameters(size: str) -> tuple[int, int]:
    """Return the parameters of backbone and adapters, counted on a model without numbers."""
    model = bare(shape(size), "meta")
    own = sum(one.numel() for one in model.parameters())
    layers = model.config.text_config.num_hidden_layers
    with torch.device("meta"):
        adapted = add_adapters(model, ("one",), fresh_lora(layers, None))
    each = sum(one.numel() for name, one in adapted.named_parameters() if "lora_" in name)
    return own, each * (1 + EXPERTS)


def estimate(size: str, gpus: int) -> Estimate:
    """Return memory and time of training; nothing here is measured.

    Weights bfloat16, adapters and AdamW's moments float32, all sharded as benchmarks/large.py does
    it: the commands keep them whole on each GPU. SFT keeps each layer's input (checkpointing), 16
    windows a step over all GPUs. RL has no checkpointing: all states of one window under five
    adapters. Embeddings, which are gathered whole, and two gathered layers come on top where
    weights are sharded. Time is model FLOPs at 40 % of 989 TFLOP/s per GPU, without recomputation,
    communication and charts.
    """
    config = shape(size)
    text = config.text_config
    width, inner, depth = text.hidden_size, text.intermediate_size, text.num_hidden_layers
    key = width // text.num_attention_heads * text.num_key_value_heads
    own, adapters = parameters(size)
    whole = (2 - config.tie_word_embeddings) * text.vocab_size * width
    layer = 2 * width * width + 2 * width * key + 3 * width * inner
    gathered = 0 if gpus == 1 else (whole + 2 * layer) * 2 * (1 - 1 / gpus)
    tokens = PROMPT + ANSWER
    # A layer's states per token: two norms' inputs and outputs, q k v, attention, four of the MLP.
    states = 2 * (6 * width + 2 * key + 4 * inner)
    rows = -(-SFT_WINDOWS // gpus)
    logits = rows * ANSWER * text.vocab_size * 4 * 3  # float32, their softmax, their gradient
    checkpointed = rows * tokens * (2 * width * depth + states) + logits
    full = (1 + EXPERTS) * PROMPT * states * depth
    weights, learned = 2 * own / gpus, 4 * adapters * 4 / gpus  # themselves, gradient, two moments
    base = weights + learned + gathered
    rate = GOAL * PEAK["H200"] * gpus
    looked = rl_forward(config, PROMPT, 1 + EXPERTS)
    learning = rl_flops(config, PROMPT, 1) + 4 * rl_flops(config, PROMPT, EXPERTS)
    return Estimate(
        weights / 1e9,
        learned / 1e9,
        (base + checkpointed) / 1e9,
        (base + full) / 1e9,
        1000 * sft_flops(config, tokens, ANSWER) / rate,
        RL_WINDOWS * (looked + learning) / rate,
    )


def print_estimates() -> None:
    """Print the table of docs/training.md."""
    print(
        "| backbone | GPUs | weights, GB | adapters, gradients, AdamW, GB | SFT, GB | RL, GB "
        f"| SFT, s per 1000 windows | RL, s per update | |\n{'|---' * 9}|"
    )
    for size in SHAPES:
        for gpus in (1, 8):
            told = estimate(size, gpus)
            held = {"SFT": told.sft, "RL": told.rl}
            large = [name for name, gigabytes in held.items() if gigabytes > MEMORY]
            note = f"; {' and '.join(large)} too large" if large else ""
            print(
                f"| {size} | {gpus} | {told.weights:.1f} | {told.learned:.2f} | {told.sft:.0f} | "
                f"{told.rl:.0f} | {told.sft_seconds:.0f} | {told.rl_seconds:.0f} | "
                f"estimated{note} |"
            )
