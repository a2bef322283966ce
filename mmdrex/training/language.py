"""Stage 0, second half: tiny's language model learns to carry what it sees to the last token.

The vision tower is frozen, so each chart's tokens are computed once. Every step asks about a batch
through one set of modalities: charts alone, series alone, text alone, all three, or all three of
different windows, told apart; the answers are read by linear heads off the last prompt token, where
the router's heads will read. What the text prints is also read at the token after each number.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm, trange

from mmdrex.observation.observation import Observation
from mmdrex.router.processor import Inputs, MMDREXProcessor
from mmdrex.router.router import Router
from mmdrex.training.answers import label_ids
from mmdrex.training.chart_windows import charts
from mmdrex.training.fusing import fuse
from mmdrex.training.language_states import STEPS, Kept
from mmdrex.training.printed import number_ends
from mmdrex.training.reading import SENSES, Reading, ReadingHeads, answers, unexplained
from mmdrex.training.vision import fast_tower, image_tokens, require_finite, schedule

log = logging.getLogger(__name__)

USUAL = 1000  # windows that say what is usual
APART = "apart"  # chart, series and text of three windows: what does each say?


@dataclass(frozen=True)
class LanguageConfig:
    """Settings of the second half, from random weights; ``GO_ON`` for a ``tiny`` that reads."""

    windows: int = 20_000
    steps: int = 7500
    batch: int = 16
    # Share of the steps per set of modalities. Charts, which are hardest, come first and all but
    # alone: read beside text from the start they stay worse (docs/training.md).
    first: float = 0.4  # of the steps follow ``first_shares``, the others ``shares``
    first_shares: tuple[tuple[str, float], ...] = (("V", 0.85), ("T", 0.10), ("VTL", 0.05))
    shares: tuple[tuple[str, float], ...] = (
        ("V", 0.45),
        ("T", 0.12),
        ("L", 0.17),
        ("VTL", 0.06),
        (APART, 0.20),
    )
    # Of closes and RSI: the better they are read, the smaller their gradient beside the texture's.
    # Text alone is not asked for them: it prints ten closes and one RSI.
    lines_weight: float = 3.0
    classes_weight: float = 0.2  # of order, zone and fifth
    printed_weight: float = 1.0  # of the numbers that the text prints
    text_weight: float = 0.1  # of predicting the prompt's next token
    state_weight: float = 0.2  # of today's trend, told by the token that will tell tomorrow's
    # Muon on the layers' matrices: after 150 steps it explained as much as AdamW after 400.
    matrix_rate: float = 0.02
    learning_rate: float = 1e-3  # AdamW on embeddings, norms, projection and heads
    weight_decay: float = 0.01
    warmup: int = 50
    clip: float = 1.0
    seed: int = 42
    compile: bool = True  # fuse MLPs and norms; needs a C++ compiler


# Gentler, and each window about once: those seen several times are learned by heart.
GO_ON = LanguageConfig(
    windows=40_000,
    steps=3000,
    first=0.0,
    shares=(("V", 0.58), ("T", 0.12), ("L", 0.12), (APART, 0.18)),
    classes_weight=0.5,
    matrix_rate=0.01,
    learning_rate=5e-4,
)


@torch.inference_mode()
def see_fast(
    router: Router, observations: Sequence[Observation], compiled: bool, progress: bool
) -> torch.Tensor:
    """Return the image tokens of every observation: (N, 128, width), float16.

    With a fused tower in bfloat16, and nothing kept: ``mmdrex.training.seeing`` keeps what the
    later stages see.
    """
    model = router.backbone
    parts = []
    with fast_tower(model.model.visual, compiled):
        for start in tqdm(range(0, len(observations), 16), desc="seeing", disable=not progress):
            batch = observations[start : start + 16]
            with torch.autocast("cpu", dtype=torch.bfloat16):
                wide, near = image_tokens(model, *charts([one.window for one in batch]))
            parts.append(torch.cat([wide, near], dim=1).half())
    return torch.cat(parts)


class _Batch:
    """Inputs of one set of modalities, padded on the right, where a causal model does not look."""

    def __init__(self, inputs: Sequence[Inputs], pad: int) -> None:
        self.last = torch.tensor([len(one.ids) - 1 for one in inputs])
        longest = int(self.last.max()) + 1

        def padded(rows: list[torch.Tensor], value: int) -> torch.Tensor:
            return torch.stack(
                [nn.functional.pad(row, (0, longest - len(row)), value=value) for row in rows]
            )

        ids = padded([one.ids for one in inputs], pad)
        types = padded([one.types for one in inputs], 0)
        self.inputs = [
            one._replace(ids=row, types=kind)
            for one, row, kind in zip(inputs, ids, types, strict=True)
        ]
        keep = torch.arange(longest)[None] <= self.last[:, None]
        self.labels = torch.where(keep & (types == 0), ids, -100)


def train_language(
    router: Router,
    observations: Sequence[Observation],
    tokens: torch.Tensor,
    trends: NDArray[np.int64],
    config: LanguageConfig | None = None,
    progress: bool = True,
    kept: Kept | None = None,
) -> ReadingHeads:
    """Train tiny's whole language model and the series' projection in place.

    Parameters
    ----------
    router : Router
        With fresh adapters, whose product is zero; they stay so.
    observations : sequence of Observation
        Of the training split.
    tokens : float16 tensor of shape (N, 128, width)
        Their image tokens, from ``see_fast``.
    trends : ndarray of int of shape (N,)
        Today's trend in each, an index into ``LABELS``; nothing of what follows.
    kept : Kept, optional
        Where a killed run goes on: bit for bit without ``compile``, whose kernels depend on the
        lengths first met.
    """
    settings = config or LanguageConfig()
    rng = np.random.default_rng(settings.seed)
    adapted_layers, router.config.lora_layers = router.config.lora_layers, 0  # all one trunk
    some = rng.integers(len(observations), size=USUAL)
    usual = answers([observations[row].window for row in some])
    heads, matrices, others = _prepare(router, settings, usual)
    # On a CPU the fused kernel's backward pass takes longer than all of plain attention.
    attention = router.backbone.config.text_config._attn_implementation
    router.backbone.set_attn_implementation({"text_config": "eager"})
    labels = label_ids(router.processor.tokenizer)
    parameters = [*matrices, *others]
    optimizers: tuple[torch.optim.Optimizer, ...] = (
        torch.optim.Muon(matrices, settings.matrix_rate, weight_decay=settings.weight_decay),
        torch.optim.AdamW(others, settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    )
    rates = (settings.matrix_rate, settings.learning_rate)
    kinds = _kinds(rng, settings)
    processors = {
        name: router.processor.seeing(SENSES if name == APART else name) for name in set(kinds)
    }
    first = 0 if kept is None else kept.load(parameters, optimizers, rng)
    bar = trange(
        *(first, settings.steps),
        initial=first,
        total=settings.steps,
        desc="answering",
        disable=not progress,
    )
    started = time.monotonic()
    for step in bar:
        if kept is not None and step % STEPS == 0 and step > first:
            kept.save(step, parameters, optimizers, rng)
        share = schedule(step, settings.warmup, settings.steps)
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * share
        kind = kinds[step]
        sees = processors[kind].modalities
        rows = _rows(rng, len(observations), settings.batch, kind == APART)
        asked = [
            replace(observations[t], text=observations[text].text)
            for t, text in zip(rows["T"], rows["L"], strict=True)
        ]
        batch = _Batch(processors[kind](asked), router.processor.tokenizer.pad_token_id)
        vision = list(tokens[rows["V"]].float()) if "V" in sees else []
        with torch.autocast("cpu", dtype=torch.bfloat16), router.vlm.disable_adapter():
            states = router.trunk(batch.inputs, vision).states.float()
        every = torch.arange(settings.batch)
        last = states[every, batch.last]
        truths = _truths(observations, rows, sees, kind == APART)
        loss = heads.said_loss(last, truths)
        if kind != APART:
            lines_weight = 0.0 if sees == "L" else settings.lines_weight
            weights = lines_weight, settings.classes_weight
            loss = loss + heads.loss(last, truths[sees[0]], *weights)
            told = last @ router.backbone.lm_head.weight[labels].T
            loss = loss + settings.state_weight * nn.functional.cross_entropy(
                told, torch.from_numpy(trends[rows[sees[0]]])
            )
        if "L" in sees:
            after = _tokens_after(processors[kind], asked, batch.last)
            numbers = heads.printed_loss(last, states[every[:, None], after], truths["L"])
            loss = loss + settings.printed_weight * numbers
            loss = loss + settings.text_weight * _text_loss(router, states, batch.labels)
        require_finite(loss, "the language model", step)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 10 == 0:
            bar.set_postfix({"sees": kind, **_figures(heads, last.detach(), truths)})
    log.info("language: %d steps in %.0f s", settings.steps - first, time.monotonic() - started)
    router.backbone.set_attn_implementation({"text_config": attention})
    router.requires_grad_(False)
    router.config.lora_layers = adapted_layers
    router.refresh()
    return heads


def _kinds(rng: np.random.Generator, settings: LanguageConfig) -> list[str]:
    """Return what each step's prompts show, drawn by the shares."""
    first = int(settings.first * settings.steps)
    kinds: list[str] = []
    for count, shares in (
        (first, settings.first_shares),
        (settings.steps - first, settings.shares),
    ):
        names, chances = zip(*shares, strict=True)
        kinds += rng.choice(names, size=count, p=chances).tolist()
    return kinds


def _prepare(
    router: Router, settings: LanguageConfig, usual: Reading
) -> tuple[ReadingHeads, list[nn.Parameter], list[nn.Parameter]]:
    """Make the language model trainable, its fresh adapters not.

    Return the heads, the matrices of the layers, and everything else that is trained.
    """
    router.eval()
    language = router.backbone.model.language_model
    if settings.compile:
        fuse(language.layers, dynamic=None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        heads = ReadingHeads(language.config.hidden_size, usual)
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = [*router.series.parameters(), *heads.parameters()]
    for name, parameter in language.named_parameters():
        if "lora_" not in name:
            inner = name.startswith("layers.") and parameter.ndim == 2
            (matrices if inner else others).append(parameter)
    for parameter in (*matrices, *others):
        parameter.requires_grad_(True)
    return heads, matrices, others


def _text_loss(router: Router, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each text token given those before it."""
    lm_head = router.backbone.lm_head
    wanted = labels[:, 1:]
    known = wanted >= 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = lm_head(states[:, :-1][known])
    return nn.functional.cross_entropy(logits.float(), wanted[known])


def _tokens_after(
    processor: MMDREXProcessor, asked: Sequence[Observation], last: torch.Tensor
) -> torch.Tensor:
    """Return the places (B, figures) of the tokens that follow each number printed.

    ``last`` are the places (B,) of the prompts' last tokens; the text is what they end with.
    """
    text_alone = processor.seeing("L")
    rows = []
    for one, place in zip(asked, last.tolist(), strict=True):
        prompt = text_alone.chat(one.text, 0)
        read = processor.tokenizer(prompt, add_special_tokens=False)
        before = place + 1 - len(read["input_ids"])  # tokens of charts and series
        start = prompt.index(one.text)
        rows.append([before + read.char_to_token(start + end) for end in number_ends(one.text)])
    return torch.tensor(rows)


def _rows(
    rng: np.random.Generator, count: int, size: int, apart: bool
) -> dict[str, NDArray[np.int64]]:
    """Return which windows a batch shows through each modality: the same, or three others."""
    own = rng.integers(count, size=size)
    return {name: rng.integers(count, size=size) if apart else own for name in SENSES}


def _truths(
    observations: Sequence[Observation],
    rows: Mapping[str, NDArray[np.int64]],
    sees: str,
    apart: bool,
) -> dict[str, Reading]:
    """Return the true answers of what each modality shows; one object where it is the same."""

    def read(name: str) -> Reading:
        return answers([observations[row].window for row in rows[name]])

    return {name: read(name) for name in sees} if apart else dict.fromkeys(sees, read(sees[0]))


@torch.no_grad()
def _figures(
    heads: ReadingHeads, states: torch.Tensor, truths: Mapping[str, Reading]
) -> dict[str, str]:
    """Return the figures of the progress bar for one batch: how much of each answer is right."""
    figures = {
        name: 1.0 - unexplained(heads.standard(truth, "texture"), heads.said[name](states))
        for name, truth in truths.items()
    }
    if "L" in truths:
        numbers = heads.standard(truths["L"], "printed")
        figures["printed"] = 1.0 - unexplained(numbers, heads.printed(states))
    if len({id(truth) for truth in truths.values()}) == 1:
        truth = next(iter(truths.values()))
        close, rsi = heads.series(states).chunk(2, dim=1)
        figures |= {
            "close": 1.0 - unexplained(truth.close, close),
            "rsi": 1.0 - unexplained(truth.rsi, rsi),
        }
        for name, head in heads.classes.items():
            right = head(states).argmax(dim=1) == getattr(truth, name)
            figures[name] = right.float().mean().item()
    return {name: f"{value:.3f}" for name, value in figures.items()}
