"""A router small enough to train in a test: two layers, charts of six image tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from mmdrex.data.simulated import simulated_bars
from mmdrex.observation.observation import Observation, Observer
from mmdrex.router import storage
from mmdrex.router.config import MMDREXConfig
from mmdrex.router.router import Router
from mmdrex.router.tiny import tiny_config
from mmdrex.router.vocabulary import train_tokenizer
from mmdrex.training.charts import corpus
from mmdrex.training.oracle import Oracle, build_oracle


def make_router(
    folder: Path, observations: list[Observation], modalities: str = "VTL", seed: int = 0
) -> Router:
    """Return a router with random weights; its backbone lies in ``folder``, so that it reloads."""
    tokenizer = train_tokenizer(corpus(observations))
    record = tiny_config().to_dict()
    record["text_config"] |= {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "layer_types": ["full_attention"] * 2,
    }
    record["text_config"]["rope_parameters"]["mrope_section"] = [4, 6, 6]
    record["vision_config"] |= {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 64,
        "fullatt_block_indexes": [0],
    }
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_dict(record))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = MMDREXConfig(
        backbone=str(folder),
        global_size=[56, 56],
        local_size=[56, 28],
        lora_layers=1,
        modalities=modalities,
    )
    return storage.fresh_router(
        Router, config, model.requires_grad_(False).eval(), tokenizer, seed=seed
    )


@pytest.fixture(scope="session")
def markets() -> dict[str, pd.DataFrame]:
    """Three simulated markets that reach through every split."""
    return {f"SIM{seed}": simulated_bars(seed, start="2016-01-04")[0] for seed in (1, 2, 3)}


@pytest.fixture(scope="session")
def micro_router(
    markets: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Router]:
    """Return a maker of equal small routers of given modalities."""
    folder = tmp_path_factory.mktemp("backbone")
    observer = Observer(markets["SIM1"], "SIM1")
    observations = [observer.at(198 + 20 * i) for i in range(40)]
    return lambda modalities="VTL": make_router(folder, observations, modalities)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """Return what every rule earns on four simulated markets."""
    assets = {f"S{seed}": simulated_bars(seed, bars=560)[0] for seed in range(4)}
    return build_oracle(assets, folder=tmp_path_factory.mktemp("oracle"))


@pytest.fixture(scope="module")
def start(micro_router: Callable[..., Router], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small router with random weights."""
    folder = tmp_path_factory.mktemp("start") / "router"
    micro_router().save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use one thread, which is faster for a model this small, and a cache of its own."""
    threads, before = torch.get_num_threads(), os.environ.get("MMDREX_CACHE")
    torch.set_num_threads(1)
    os.environ["MMDREX_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    torch.set_num_threads(threads)
    os.environ.pop("MMDREX_CACHE")
    if before is not None:
        os.environ["MMDREX_CACHE"] = before
