"""Take one step of SFT and one of RL on a backbone of Qwen2.5-VL-3B's shape, or estimate larger.

    python benchmarks/large.py              # without a GPU: two processes, 2 of 36 layers, sharded
    python benchmarks/large.py --estimate   # memory and time for 3B, 7B, 72B on 1 and 8 GPUs

Random weights in bfloat16, the shipped tokenizer (its prompts are shorter than Qwen's: the tokens
of a window are printed). On a GPU the whole model runs in one process. On a CPU two processes
started with torchrun share it through torch's ``fully_shard`` and gloo. Charts become image tokens
once, before training, as in both stages; a step is what follows. Each step is taken twice and the
second is timed.

Model FLOPs are those that a step needs: products with weights and attention (a causal one over its
half), forward and backward; frozen weights have no gradient of their own. Utilisation (MFU) is
their rate over the peak: the data sheet's for a known GPU, else bfloat16 products measured in all
processes at once. Goal on one H200: 40 %.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from mmdrex.router.backbone import BACKBONES, TINY, add_adapters, fresh_lora
from mmdrex.router.cache import Cache
from mmdrex.router.config import MMDREXConfig
from mmdrex.router.router import ADAPTER, Router
from mmdrex.router.storage import fresh_router
from mmdrex.router.vocabulary import SPECIAL
from mmdrex.training import update
from mmdrex.training.answers import AnswerModel, Answers, Collator
from mmdrex.training.episodes import schedule
from mmdrex.training.oracle import build_oracle
from mmdrex.training.rl_checkpoints import agents
from mmdrex.training.rl_config import rl_config
from mmdrex.training.rollout import Rewards, roll_out, visited
from mmdrex.training.seeing import see
from mmdrex.training.sft import prepare, trainable, training_assets
from mmdrex.training.sft_config import sft_config
from mmdrex.training.trunks import Trunks, look

PROCESSES = 2
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


def build(config: Qwen2_5_VLConfig, device: str) -> Router:
    """Return a router on a backbone with random weights, equal in every process."""
    known = BACKBONES["qwen2.5-vl-3b"]
    settings = MMDREXConfig(
        backbone="qwen2.5-vl-3b",
        global_size=list(known.global_size),
        local_size=list(known.local_size),
    )
    tokenizer = AutoTokenizer.from_pretrained(TINY / "backbone")
    return fresh_router(Router, settings, bare(config, device), tokenizer, Cache(None), seed=0)


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


def rl_flops(config: Qwen2_5_VLConfig, tokens: float, adapters: int) -> float:
    """Return the FLOPs of one window in a gradient step of RL under some adapters."""
    forward = work(config, tokens).layers
    return adapters * (forward + backward(config, tokens, forward))


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

    Weights and adapters bfloat16, all sharded; AdamW's moments as the adapters. SFT keeps each
    layer's input (checkpointing), 16 windows a step over all GPUs. RL has no checkpointing: all
    states of one window under five adapters. Embeddings, which are gathered whole, and two
    gathered layers come on top where weights are sharded. Time is model FLOPs at 40 % of 989
    TFLOP/s per GPU, without recomputation, communication and charts.
    """
    config = shape(size)
    text = config.text_config
    width, inner, depth = text.hidden_size, text.intermediate_size, text.num_hidden_layers
    key = width // text.num_attention_heads * text.num_key_value_heads
    own, adapters = parameters(size)
    whole = (2 - text.tie_word_embeddings) * text.vocab_size * width
    layer = 2 * width * width + 2 * width * key + 3 * width * inner
    gathered = 0 if gpus == 1 else (whole + 2 * layer) * 2 * (1 - 1 / gpus)
    tokens = PROMPT + ANSWER
    # A layer's states per token: two norms' inputs and outputs, q k v, attention, four of the MLP.
    states = 2 * (6 * width + 2 * key + 4 * inner)
    rows = -(-SFT_WINDOWS // gpus)
    logits = rows * ANSWER * text.vocab_size * 4 * 3  # float32, their softmax, their gradient
    checkpointed = rows * tokens * (2 * width * depth + states) + logits
    full = (1 + EXPERTS) * PROMPT * states * depth
    weights, learned = 2 * own / gpus, 2 * adapters * 4 / gpus  # gradient and two moments
    base = weights + learned + gathered
    rate = GOAL * PEAK["H200"] * gpus
    looked = (1 + EXPERTS) * work(config, PROMPT).layers
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
        "| SFT, s per 1000 windows | RL, s per update | |\n|---|---|---|---|---|---|---|---|---|"
    )
    for size in SHAPES:
        for gpus in (1, 8):
            told = estimate(size, gpus)
            fits = max(told.sft, told.rl) < MEMORY
            print(
                f"| {size} | {gpus} | {told.weights:.1f} | {told.learned:.2f} | {told.sft:.0f} | "
                f"{told.rl:.0f} | {told.sft_seconds:.0f} | {told.rl_seconds:.0f} | "
                f"estimated{'' if fits else f'; more than {MEMORY:.0f} GB'} |"
            )


# -- steps ----------------------------------------------------------------------------------------


def peak_rate(device: str) -> tuple[float, str]:
    """Return the peak FLOP/s of all processes together, and where it comes from."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
        for known, rate in PEAK.items():
            if known in name:
                return rate, f"data sheet, {name}"
    count = 2048
    left, right = (torch.randn(count, count, dtype=torch.bfloat16, device=device) for _ in "ab")
    rates = []
    for _ in range(12):
        wait()
        began = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        rates.append(2.0 * count**3 / (time.perf_counter() - began))
    return total(float(np.median(rates[2:]))), "measured"


def wait() -> None:
    """Wait for the other process, if there is one."""
    if distributed.is_initialized():
        distributed.barrier()


def total(value: float) -> float:
    """Return the sum of a number over the processes."""
    if not distributed.is_initialized():
        return value
    held = torch.tensor([value], dtype=torch.float64)
    distributed.all_reduce(held)
    return float(held)


def shard(router: Router) -> None:
    """Split every layer, block and the rest over the processes; assert that it is so."""
    assert distributed.get_world_size() == PROCESSES
    mesh = init_device_mesh("cpu", (PROCESSES,))
    model = router.backbone.model
    for part in (*model.visual.blocks, *model.language_model.layers, router):
        fully_shard(part, mesh=mesh)
    for name in ("trunk", "sequence", "states"):
        register_fsdp_forward_method(router, name)
    held = whole = 0
    for name, one in router.named_parameters():
        assert isinstance(one, DTensor) and one.placements[0].is_shard(), name
        held, whole = held + one.to_local().numel(), whole + one.numel()
    assert held < 0.6 * whole  # half of it; a first dimension that is odd is padded
    say(f"{PROCESSES} processes, each with {held / whole:.0%} of {whole / 1e6:.0f} M parameters")


def say(text: str) -> None:
    """Print once."""
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        print(text, flush=True)


def timed(device: str, step) -> float:
    """Return the seconds of a second call."""
    for _ in range(2):
        wait()
        began = time.perf_counter()
        loss = step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    assert np.isfinite(loss), loss
    return seconds


def report(stage: str, windows: int, tokens: int, flops: float, seconds: float, peak: float):
    """Print a step's figures."""
    say(
        f"{stage}: {windows} windows, {tokens} tokens in {seconds:.2f} s; {tokens / seconds:,.0f} "
        f"tokens/s, {flops / 1e12:.1f} TFLOP, MFU {flops / seconds / peak:.1%}"
    )


def sft_step(config, device: str, windows: int, folder: Path, peak: float) -> None:
    """Take a step of SFT: the answers of ``windows`` windows in each process."""
    router = build(config, device)
    settings = sft_config(folder / "sft", model="large", data="simulated:1", **place(device))
    first, count = settings.process_index * windows, settings.world_size * windows
    samples = prepare(router, training_assets(settings.data), settings, "fit")
    samples = samples[first : first + windows]
    own = folder / f"seen{settings.process_index}"
    began = time.perf_counter()
    vision = see(router, [one.observation for one in samples], own)
    seconds = time.perf_counter() - began
    blocks = config.vision_config.depth
    needed = windows * work(config, 1).tower
    say(
        f"charts, {blocks} of 32 vision blocks: {seconds / windows:.2f} s a window and process, "
        f"MFU {settings.world_size * needed / seconds / peak:.1%}"
    )
    answers = Answers(router, samples, vision)
    pad = router.processor.tokenizer.pad_token_id
    batch = Collator(pad)([answers[row] for row in range(windows)])
    batch = {name: value.to(router.device) for name, value in batch.items()}
    trainable(router)
    model = AnswerModel(router, settings.text_weight)
    if settings.world_size > 1:
        shard(router)
    model.train()
    learned = [one for one in router.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(learned, settings.learning_rate)

    def step() -> float:
        optimizer.zero_grad()
        loss = model(**batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, settings.max_grad_norm)
        optimizer.step()
        return float(loss.detach())

    seconds = timed(device, step)
    lengths = [len(one.inputs.ids) for one in answers.encoded]
    ends = [one.last + 1 for one in answers.encoded]
    flops = sum(sft_flops(config, length, length - e) for length, e in zip(lengths, ends))
    report("SFT step", count, int(total(sum(lengths))), total(flops), seconds, peak)


def rl_step(config, device: str, windows: int, folder: Path, peak: float) -> None:
    """Take a step of RL: a look, a rollout, one gradient step of router and experts."""
    router = build(config, device)
    # Five adapters a window, and no checkpointing in evaluation mode: few windows at once.
    router.batch = 1 if device == "cpu" else 2
    settings = rl_config(
        folder / "rl",
        init="large",
        data="simulated:1",
        per_device_train_batch_size=windows,
        update_every=1,
        ppo_epochs=1,
        **place(device),
    )
    process, processes = settings.process_index, settings.world_size
    oracle = build_oracle(training_assets(settings.data), folder=folder / "oracle")
    count = windows * processes
    visits = schedule(oracle.episodes(oracle.inside("fit")), count, 1, 2500, 8, settings.seed)
    visits = visits.part(0, 1)
    rows = visited(visits)
    rows += rows[: -len(rows) % processes]  # as many looks in each process: they wait for another
    trunks = Trunks(router, oracle, rows, folder=folder / f"seen{process}")
    agents(router, True, True)
    if processes > 1:
        shard(router)
        for part in router.modules():
            if isinstance(part, FSDPModule):
                part.set_gradient_divide_factor(1.0)  # each adds its share of the mean
        update._summed = lambda named, loss, count: total(loss)  # gradients are summed already
    named = agents(router, True, True)
    learned = [one for own in named.values() for one in own.values()]
    optimizer = torch.optim.AdamW(learned, settings.learning_rate)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    rewards, rng = Rewards(router, oracle, settings), np.random.default_rng(0)
    took = {}

    def looked() -> float:
        took["seen"] = look(router, trunks, rows, process, processes)
        return float(took["seen"].weights.sum())

    def learned_from() -> float:
        kappa = router.config.kappa
        rollout = roll_out(rewards, visits, rows, took["seen"], settings, kappa, rng)
        figures = update.learn(
            router, trunks, rollout, named, optimizer, scheduler, settings, rng, 0
        )
        return figures["loss"]

    adapters = 1 + EXPERTS
    seconds = timed(device, looked)
    lengths = {row: trunks.length(row) for row in rows}
    tokens = adapters * sum(lengths.values())
    flops = sum(adapters * work(config, length).layers for length in lengths.values())
    report("RL look", len(rows), tokens, flops, seconds, peak)
    seconds = timed(device, learned_from)
    read = [lengths[row] for row in visits.rows.ravel().tolist()]
    flops = sum(rl_flops(config, length, adapters) for length in read)
    report("RL step", len(read), adapters * sum(read), flops, seconds, peak)


def place(device: str) -> dict[str, object]:
    """Return the settings that say where to compute."""
    return {} if device == "cuda" else {"use_cpu": True, "ddp_backend": "gloo"}


def steps(options: argparse.Namespace) -> None:
    """Take both steps in this process and, with torchrun, in its sisters."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(options.threads)
    whole = device == "cuda"
    config = shape("3B") if whole else shape("3B", options.layers, options.blocks)
    windows = options.windows or (8 if whole else 1)
    with tempfile.TemporaryDirectory() as folder:
        sft_config(folder, model="large", **place(device)).device  # noqa: B018  # joins the others
        peak, source = peak_rate(device)
        layers = config.text_config.num_hidden_layers
        say(
            f"3B's shape, {layers} of 36 layers, {device}, {options.threads} thread(s) a process; "
            f"peak {peak / 1e12:.2f} TFLOP/s ({source})"
        )
        sft_step(config, device, windows, Path(folder), peak)
        rl_step(config, device, windows, Path(folder), peak)
    say(f"goal on one H200: MFU of at least {GOAL:.0%}; this was {device}")
    if distributed.is_initialized():
        distributed.destroy_process_group()


def main() -> None:
    """Print estimates, or start the processes and take the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--layers", type=int, default=2, help="language layers on a CPU")
    parser.add_argument("--blocks", type=int, default=4, help="vision blocks on a CPU")
    parser.add_argument("--windows", type=int, help="per process; 1, on a GPU 8")
    parser.add_argument("--threads", type=int, default=1, help="per process")
    options = parser.parse_args()
    if options.estimate:
        print_estimates()
    elif torch.cuda.is_available() or "RANK" in os.environ:
        steps(options)
    else:
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={PROCESSES}"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        sys.exit(subprocess.call([sys.executable, *launch, *sys.argv], env=environment))


if __name__ == "__main__":
    main()
