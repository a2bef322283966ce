"""Take one step of SFT and one of RL on a backbone of Qwen2.5-VL-3B's shape, or estimate larger.

    python benchmarks/large.py              # without a GPU: two processes, 2 of 36 layers, sharded
    python benchmarks/large.py --estimate   # memory and time for 3B, 7B, 72B on 1 and 8 GPUs

Random weights in bfloat16, the shipped tokenizer (its prompts are shorter than Qwen's: the tokens
of a step are printed). On a GPU the whole model runs in one process; each step is taken twice and
the second is timed. On a CPU two processes started with torchrun share it through torch's
``fully_shard`` and gloo, and time is CPU seconds of a process: what a core of its own would take,
copies between processes included, waiting left out. Charts become image tokens once, before
training, as in both stages; a step is what follows.

Utilisation (MFU) is the rate of model FLOPs (``large_costs.py`` counts them) over the peak: the
data sheet's for a known GPU, else that of a bfloat16 product of 2048 x 2048. Goal on one H200:
40 %.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import torch
from large_costs import (
    EXPERTS,
    GOAL,
    PEAK,
    bare,
    print_estimates,
    rl_flops,
    rl_forward,
    sft_flops,
    shape,
    work,
)
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from transformers import AutoTokenizer, Qwen2_5_VLConfig

from mmdrex.router.backbone import BACKBONES, TINY
from mmdrex.router.cache import Cache
from mmdrex.router.config import MMDREXConfig
from mmdrex.router.router import Router
from mmdrex.router.storage import fresh_router
from mmdrex.training import update
from mmdrex.training.answers import AnswerModel, Answers, Collator
from mmdrex.training.assets import training_assets
from mmdrex.training.episodes import schedule
from mmdrex.training.learner import Learner, agents
from mmdrex.training.oracle import build_oracle
from mmdrex.training.rl_config import rl_config
from mmdrex.training.rollout import Rewards, roll_out, visited
from mmdrex.training.seeing import see
from mmdrex.training.sft import split_samples, trainable
from mmdrex.training.sft_config import sft_config
from mmdrex.training.trunks import Trunks, look

PROCESSES = 2


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


# -- steps ----------------------------------------------------------------------------------------


def peak_rate(device: str) -> tuple[float, str]:
    """Return the peak FLOP/s of one process, and where it comes from."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
        for known, rate in PEAK.items():
            if known in name:
                return rate, f"data sheet, {name}"
    count = 2048
    left, right = (torch.randn(count, count, dtype=torch.bfloat16, device=device) for _ in "ab")
    best = min(seconds(device, lambda: float((left @ right)[0, 0])) for _ in range(12))
    return 2.0 * count**3 / best, "measured"


def seconds(device: str, step) -> float:
    """Return how long a step takes: seconds on a GPU, CPU seconds of this process on a CPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    loss = step()  # a number of the host: the GPU is done
    took = clock() - began
    assert np.isfinite(loss), loss
    return took


def total(value: float) -> float:
    """Return the sum of a number over the processes."""
    if not distributed.is_initialized():
        return value
    held = torch.tensor([value], dtype=torch.float64)
    distributed.all_reduce(held)
    return float(held)


def shard(router: Router, embedding: bool) -> None:
    """Split layers, vision blocks and the rest over the processes; assert that it is so.

    ``embedding`` splits it by itself and drops the logits that it is tied to: RL needs none.
    """
    assert distributed.get_world_size() == PROCESSES
    mesh = init_device_mesh("cpu", (PROCESSES,))
    model = router.backbone.model
    parts = [*model.visual.blocks, *model.language_model.layers]
    if embedding:
        router.backbone.lm_head = torch.nn.Identity()
        parts.append(model.language_model.embed_tokens)
    for part in (*parts, router):
        fully_shard(part, mesh=mesh)
    for name in ("trunk", "sequence"):
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
    """Return the mean over processes of a step's seconds, on a GPU those of a second one."""
    if device != "cpu":
        step()
    return total(seconds(device, step)) / processes()


def processes() -> int:
    """Return how many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def report(stage: str, windows: int, tokens: float, flops: float, took: float, peak: float):
    """Print a step's figures, of all processes together."""
    say(
        f"{stage}: {windows} windows, {tokens:.0f} tokens in {took:.2f} s; {tokens / took:,.0f} "
        f"tokens/s, {flops / 1e12:.1f} TFLOP, MFU {flops / took / (peak * processes()):.1%}"
    )


def sft_step(config, device: str, windows: int, folder: Path, peak: float) -> None:
    """Take a step of SFT: the answers of ``windows`` windows in each process."""
    router = build(config, device)
    settings = sft_config(folder / "sft", model="large", data="simulated:1", **place(device))
    first, count = settings.process_index * windows, settings.world_size * windows
    samples = split_samples(router, training_assets(settings.data), settings, "fit")
    samples = samples[first : first + windows]
    own = folder / f"seen{settings.process_index}"
    seen = []

    def saw() -> float:
        seen.append(see(router, [one.observation for one in samples], own))
        return float(seen[0][0].float().mean())

    took = total(seconds(device, saw))
    flops = count * work(config, 1).tower
    say(
        f"charts, {config.vision_config.depth} of 32 vision blocks: {took / count:.2f} s a window, "
        f"MFU {flops / took / peak:.1%}"
    )
    vision = seen[0]
    answers = Answers(router, samples, vision)
    pad = router.processor.tokenizer.pad_token_id
    batch = Collator(pad)([answers[row] for row in range(windows)])
    batch = {name: value.to(router.device) for name, value in batch.items()}
    trainable(router)
    model = AnswerModel(router, settings.text_weight)
    if settings.world_size > 1:
        shard(router, embedding=False)
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

    took = timed(device, step)
    lengths = [len(one.inputs.ids) for one in answers.encoded]
    ends = [one.last + 1 for one in answers.encoded]
    flops = sum(
        sft_flops(config, length, length - end) for length, end in zip(lengths, ends, strict=True)
    )
    report("SFT step", count, total(sum(lengths)), total(flops), took, peak)


def rl_step(config, device: str, windows: int, folder: Path, peak: float) -> None:
    """Take a step of RL: a look, a rollout, one gradient step of router and experts."""
    router = build(config, device)
    settings = rl_config(
        folder / "rl",
        init="large",
        data="simulated:1",
        per_device_train_batch_size=windows,
        update_every=1,
        ppo_epochs=1,
        # Five adapters a window, and no checkpointing in evaluation mode.
        windows_at_once=1 if device == "cpu" else 2,
        **place(device),
    )
    process, others = settings.process_index, settings.world_size
    oracle = build_oracle(training_assets(settings.data), folder=folder / "oracle")
    count = windows * others
    visits = schedule(oracle.episodes(oracle.inside("fit")), count, 1, 2500, 8, settings.seed)
    visits = visits.part(0, 1)
    rows = visited(visits)
    rows += rows[: -len(rows) % others]  # as many looks in each process: they wait for another
    trunks = Trunks(router, oracle, rows, folder=folder / f"seen{process}")
    agents(router, True, True)
    if others > 1:
        shard(router, embedding=True)
        for part in router.modules():
            if isinstance(part, FSDPModule):
                part.set_gradient_divide_factor(1.0)  # each adds its share of the mean
                part.set_force_sum_reduction_for_comms(True)  # gloo knows sums only
        update._summed = lambda named, loss, count: total(loss)  # gradients are summed already
    learner = Learner.of(router, 1, settings)
    learned = [one for own in learner.named.values() for one in own.values()]
    switch = router.vlm.set_adapter

    def switched(name: str) -> None:
        switch(name)  # freezes the other adapters, whose gradients are still to come
        for one in learned:
            one.requires_grad_(True)

    router.vlm.set_adapter = switched
    rewards, rng = Rewards(router, oracle, settings), np.random.default_rng(0)
    told = {}

    def looked() -> float:
        told["seen"] = look(router, trunks, rows, process, others)
        return float(told["seen"].weights.sum())

    def learned_from() -> float:
        kappa = router.config.kappa
        rollout = roll_out(rewards, visits, rows, told["seen"], settings, kappa, rng)
        figures = update.learn(router, trunks, rollout, learner, settings, rng, 0)
        assert all(one.grad is not None for one in learned)  # router and experts, all of them
        return figures["loss"]

    adapters = 1 + EXPERTS
    took = timed(device, looked)
    lengths = {row: trunks(row).states.shape[1] for row in rows}
    tokens = adapters * sum(lengths.values())
    flops = sum(rl_forward(config, length, adapters) for length in lengths.values())
    report("RL look", len(rows), tokens, flops, took, peak)
    took = timed(device, learned_from)
    read = [lengths[row] for row in visits.rows.ravel().tolist()]
    flops = sum(rl_flops(config, length, adapters) for length in read)
    report("RL step", len(read), adapters * sum(read), flops, took, peak)


def place(device: str) -> dict[str, object]:
    """Return the settings that say where to compute."""
    return {} if device == "cuda" else {"use_cpu": True, "ddp_backend": "gloo"}


def steps(options: argparse.Namespace) -> None:
    """Take both steps in this process and, with torchrun, in its sisters."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)  # a CPU second is then a second of one core
    whole = device == "cuda"
    config = shape("3B") if whole else shape("3B", options.layers, options.blocks)
    windows = options.windows or (8 if whole else 1)
    with tempfile.TemporaryDirectory() as folder:
        sft_config(folder, model="large", **place(device)).device  # noqa: B018  # joins the others
        peak, source = peak_rate(device)
        layers = config.text_config.num_hidden_layers
        say(
            f"3B's shape, {layers} of 36 layers, {device}, processes of one thread: {processes()}; "
            f"peak {peak / 1e12:.2f} TFLOP/s a process ({source})"
        )
        sft_step(config, device, windows, Path(folder), peak)
        rl_step(config, device, windows, Path(folder), peak)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if device == "cuda":
        held = torch.cuda.max_memory_allocated() / 2**30
    say(f"memory of a process: at most {held:.1f} GiB")
    say(f"goal on one H200: MFU of at least {GOAL:.0%}; this was {device}")
    if distributed.is_initialized():
        distributed.destroy_process_group()


def main() -> None:
    """Print estimates, or start the processes and take the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--layers", type=int, default=2, help="language layers on a CPU")
    parser.add_argument("--blocks", type=int, default=2, help="vision blocks on a CPU")
    parser.add_argument("--windows", type=int, help="per process; 1, on a GPU 8")
    options = parser.parse_args()
    if options.estimate:
        print_estimates()
    elif torch.cuda.is_available() or "RANK" in os.environ:
        steps(options)
    else:
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={PROCESSES}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        sys.exit(subprocess.call([sys.executable, *launch, *sys.argv], env=environment))


if __name__ == "__main__":
    main()
