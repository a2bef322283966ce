"""Stage 0: make ``tiny`` from random weights, and teach it to read charts.

    tokenizer   from the prompts of the training split
    vision      every drawn line, from the image tokens        (mmdrex.training.vision)
    language    questions, from the last prompt token's state   (mmdrex.training.language)

Adapters and heads stay fresh: nothing here has seen what a window earned.
"""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mmdrex.data.files import replacing
from mmdrex.observation.observation import Observation, Observer
from mmdrex.router import storage
from mmdrex.router.backbone import backbone
from mmdrex.router.cache import digest
from mmdrex.router.config import MMDREXConfig
from mmdrex.router.router import Router
from mmdrex.router.storage import weights_digest
from mmdrex.router.tiny import fresh_tiny
from mmdrex.router.vocabulary import LABELS, train_tokenizer
from mmdrex.training.assets import HELD_OUT, contents
from mmdrex.training.chart_windows import (
    GLOBAL_SIZE,
    LOCAL_SIZE,
    ChartWindows,
    chart_windows,
    simulated_markets,
)
from mmdrex.training.checkpoints import disk_errors
from mmdrex.training.exam import examine
from mmdrex.training.labels import UNKNOWN, trend_states
from mmdrex.training.language import GO_ON, LanguageConfig, see_fast, train_language
from mmdrex.training.language_states import Kept
from mmdrex.training.number_codes import code_numbers
from mmdrex.training.seeing import drawing
from mmdrex.training.vision import VisionConfig, train_vision

log = logging.getLogger(__name__)

SIMULATED, FIRST_SEED = 40, 1000  # markets beside the real ones
PROMPTS = 2000  # that the tokenizer is trained on


def train_charts(
    assets: Mapping[str, pd.DataFrame],
    out: Path,
    vision: VisionConfig | None = None,
    language: LanguageConfig | None = None,
    seed: int = 42,
    progress: bool = True,
    init: str | None = None,
) -> None:
    """Write a ``tiny`` that has been through stage 0 to the folder ``out``.

    What an earlier, interrupted run left there is taken up if it was made of the same data,
    settings and seed: the vision tower, the image tokens, the language model's last state.

    Parameters
    ----------
    assets : mapping of str to DataFrame
        Bars by symbol; those of ``HELD_OUT`` are left out, of the others the training split is
        used.
    out : path
        Gets a router folder, its backbone inside.
    init : str, optional
        A ``tiny`` to go on from: tokenizer, vision tower and scaler stay, adapters become fresh.

    Raises
    ------
    ValueError
        If ``init`` is no ``tiny``, or has been trained with this seed, which draws the windows.
    """
    vision = vision or VisionConfig(seed=seed)
    language = language or replace(LanguageConfig() if init is None else GO_ON, seed=seed)
    seen = {symbol: bars for symbol, bars in assets.items() if symbol not in HELD_OUT}
    if not seen or not len(chart_windows(seen, "train")):
        raise ValueError(
            "no window of the training split in these prices, assets held out for the examination "
            "left aside; give prices of earlier or more years"
        )
    markets = {**seen, **simulated_markets(SIMULATED, FIRST_SEED)}
    out.mkdir(parents=True, exist_ok=True)

    old = None if init is None else _again(init, language, seed)
    observations = observe(markets, language.windows, seed)
    router = old or _newborn(markets, observations, out, vision, language, progress)
    tower = weights_digest(router.backbone.model.visual.state_dict())
    looks = drawing(GLOBAL_SIZE, LOCAL_SIZE)
    key = digest(tower, looks, *(one.drawn for one in observations))
    seen_before = _kept(out / "seen.safetensors", key)
    if seen_before is None:
        seen_before = {"tokens": see_fast(router, observations, language.compile, progress)}
        _keep(seen_before, out / "seen.safetensors", key)
    tokens = seen_before["tokens"]
    trends = current_trends(markets, observations)
    made_of = digest(key, repr(language), weights_digest(router.state_dict()))
    kept = Kept(out / "answering", made_of)
    train_language(router, observations, tokens, trends, language, progress, kept)
    with disk_errors(out, kept.folder):
        store(router, out / "tiny")
    shutil.rmtree(kept.folder, ignore_errors=True)
    if any(symbol in HELD_OUT for symbol in assets):
        stored = Router.from_pretrained(str(out / "tiny"), cache=False)
        stored.config.training["stage 0"]["figures"] = examine(stored, assets, seed=seed)
        store(stored, out / "tiny")


def _newborn(
    markets: Mapping[str, pd.DataFrame],
    observations: Sequence[Observation],
    out: Path,
    vision: VisionConfig,
    language: LanguageConfig,
    progress: bool,
) -> Router:
    """Return a ``tiny`` with a tokenizer, a scaler and a tower that sees; the rest is random."""
    tokenizer = train_tokenizer(corpus(observations[:PROMPTS]))
    model = fresh_tiny(language.seed)
    code_numbers(model.model.language_model.embed_tokens, tokenizer, language.seed)
    key = digest(repr(vision), str(language.seed), *contents(markets))
    tower = _kept(out / "vision.safetensors", key)
    if tower is None:
        train_vision(model, chart_windows(markets, "train"), vision, progress)
        _keep(model.model.visual.state_dict(), out / "vision.safetensors", key)
    else:
        model.model.visual.load_state_dict(tower)
    known = backbone("tiny")
    config = MMDREXConfig(
        backbone="tiny",
        global_size=list(known.global_size),
        local_size=list(known.local_size),
        lora_layers=known.lora_layers,
        training={"stage 0": {"vision": asdict(vision), "language": asdict(language)}},
    )
    router = storage.fresh_router(Router, config, model, tokenizer, seed=language.seed)
    series = np.concatenate([one.series for one in observations[:PROMPTS]])
    router.series.mean.copy_(torch.from_numpy(series.mean(axis=0)))
    router.series.deviation.copy_(torch.from_numpy(series.std(axis=0)))
    return router


def _keep(tensors: Mapping[str, torch.Tensor], path: Path, key: str) -> None:
    """Write tensors with the digest of what they were made of."""
    with disk_errors(path.parent), replacing(path) as aside:
        save_file(dict(tensors), aside, metadata={"made of": key})


def _kept(path: Path, key: str) -> dict[str, torch.Tensor] | None:
    """Return the tensors of a file, or None if there is none or it was made of something else."""
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        made_of = (file.metadata() or {}).get("made of")
    if made_of != key:
        log.info("%s is of other data, settings or seed; it is made again", path)
        return None
    log.info("taken from %s", path)
    return load_file(path)


def _again(init: str, language: LanguageConfig, seed: int) -> Router:
    """Return an earlier ``tiny`` with fresh adapters and heads, and what made it so far."""
    old = Router.from_pretrained(init, cache=False)
    if old.config.backbone != "tiny":
        raise ValueError(f"{init} stands on {old.config.backbone}; only a tiny learns to read")
    stage = {k: v for k, v in old.config.training.get("stage 0", {}).items() if k != "figures"}
    runs = [own for name, own in stage.items() if name.startswith("language")]
    if seed in (used := {own["seed"] for own in runs}):
        raise ValueError(
            f"{init} has seen the windows of seed {seed}; go on with new ones: "
            f"--seed {max(used) + 1}"
        )
    run = 1 + len(runs)
    old.config.training = {"stage 0": {**stage, f"language, run {run}": asdict(language)}}
    old.config.trained = {}
    return storage.renewed(old, language.seed)


def current_trends(
    markets: Mapping[str, pd.DataFrame], observations: Sequence[Observation]
) -> NDArray[np.int64]:
    """Return the trend state of each observation's own bar: (N,) indices into ``LABELS``."""
    states = {
        symbol: pd.Series(trend_states(markets[symbol]), markets[symbol].index)
        for symbol in {one.symbol for one in observations}
    }
    told = np.array([states[one.symbol][one.time] for one in observations], dtype=np.int64)
    if (told == UNKNOWN).any():
        raise ValueError("a window of warm bars has an unknown state; its prices are not finite")
    return told


def store(router: Router, folder: Path) -> None:
    """Write a ``tiny``, its backbone inside, as float16."""
    with replacing(folder) as aside:
        aside.mkdir()
        storage.write_router(router, aside, half=True, base=False)
        # The base weights without the adapters' wrappers, under their own names.
        base = {
            name.replace(".base_layer", ""): value.detach().half().contiguous()
            for name, value in router.backbone.state_dict().items()
            if ".lora_" not in name and name != "lm_head.weight"  # tied to the embedding
        }
        config = copy.deepcopy(router.backbone.config)
        config.dtype = "float16"
        (aside / "backbone").mkdir()
        save_file(base, aside / "backbone" / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(aside / "backbone")
        router.processor.tokenizer.save_pretrained(aside / "backbone")


def observe(markets: Mapping[str, pd.DataFrame], count: int, seed: int) -> list[Observation]:
    """Return ``count`` observations of the training split, drawn at random.

    Every other prompt is anonymous.
    """
    rng = np.random.default_rng(seed)
    windows: ChartWindows = chart_windows(markets, "train")
    names = list(windows.symbols)
    ends = windows.ends[rng.integers(len(windows), size=count)]
    observers = {
        (asset, anonymous): Observer(markets[names[asset]], names[asset], anonymous=anonymous)
        for asset in np.unique(ends[:, 0]).tolist()
        for anonymous in (False, True)
    }
    hidden = rng.random(count) < 0.5
    return [
        observers[int(asset), bool(anonymous)].at(int(row))
        for (asset, row), anonymous in zip(ends, hidden, strict=True)
    ]


def corpus(observations: Sequence[Observation]) -> list[str]:
    """Return the texts that the tokenizer is trained on: prompts, and the start of answers."""
    start = [f'{{"trend":"\n{label}\n","state":"\n"}}' for label in LABELS]
    return [one.text for one in observations] + start * max(1, len(observations) // 3)
