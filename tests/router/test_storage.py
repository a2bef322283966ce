import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import RepoUrl
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from mmdrex.data.sample import sample_bars
from mmdrex.engines.planning import plan, stamps_of
from mmdrex.errors import RouterError
from mmdrex.observation.observation import Observer
from mmdrex.router import storage
from mmdrex.router.backbone import BACKBONES, TINY, load_backbone
from mmdrex.router.card import model_card
from mmdrex.router.config import MMDREXConfig
from mmdrex.router.processor import MMDREXProcessor
from mmdrex.router.router import Router
from strategies import EXPERTS, POOL


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.from_pretrained("tiny", cache=False)


def _decision(router: Router) -> np.ndarray:
    return router.decide([Observer(sample_bars("sp500"), "sp500").at(400)])[0].weights


def test_a_saved_router_decides_as_before(router: Router, tmp_path: Path) -> None:
    router.save_pretrained(str(tmp_path / "saved"))
    again = Router.from_pretrained(str(tmp_path / "saved"), cache=False)
    assert again.model == router.model and again.rules == router.rules
    assert np.array_equal(_decision(again), _decision(router))


def test_a_saved_router_holds_safetensors_json_and_its_own_card(
    router: Router, tmp_path: Path
) -> None:
    router.save_pretrained(str(tmp_path / "saved"))
    files = [path for path in (tmp_path / "saved").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".jinja"}
    cards = [path for path in files if path.name == "README.md"]
    assert cards == [tmp_path / "saved" / "README.md"]
    assert "MM-DREX router" in cards[0].read_text()


def test_a_card_tells_figures_and_limits_of_each_stage() -> None:
    record = {"seed": 7, "limits": "Bear markets are strange to it.", "figures": {"Sharpe": 0.25}}
    card = model_card(MMDREXConfig(training={"stage 2": record}))
    made, limits = card.split("## What it can't do")
    assert "### Stage 2" in made and "- seed: 7" in made and "| Sharpe | 0.25 |" in made
    assert "Bear markets" in limits and "Bear markets" not in made


def test_peft_alone_loads_each_adapter_by_its_subfolder(router: Router, tmp_path: Path) -> None:
    router.save_pretrained(str(tmp_path / "saved"))
    for adapter in ("router", *router.rules):
        model, _ = load_backbone("tiny")
        assert isinstance(
            PeftModel.from_pretrained(model, str(tmp_path / "saved"), subfolder=adapter), PeftModel
        )


def test_config_and_processor_are_citizens_of_transformers(router: Router, tmp_path: Path) -> None:
    router.save_pretrained(str(tmp_path / "saved"))
    config = AutoConfig.from_pretrained(str(tmp_path / "saved"))
    assert isinstance(config, MMDREXConfig) and config.rules == router.config.rules
    processor = MMDREXProcessor.from_pretrained(str(tmp_path / "saved"))
    assert processor.chat("text", 100) == router.processor.chat("text", 100)


@pytest.mark.parametrize("name", ["me/my-router", "my-router"])
def test_a_pushed_router_comes_back_from_its_repository(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hub = tmp_path / "hub"

    class LocalHub:
        def __init__(self, token: str | None = None) -> None: ...

        def create_repo(self, repo_id: str, **kwargs: object) -> RepoUrl:
            owned = repo_id if "/" in repo_id else f"me/{repo_id}"  # as the hub does
            return RepoUrl(f"https://huggingface.co/{owned}")

        def upload_folder(self, repo_id: str, folder_path: Path, **kwargs: object) -> None:
            shutil.copytree(folder_path, hub / repo_id)

    monkeypatch.setattr(storage, "HfApi", LocalHub)
    assert router.push_to_hub(name) == "https://huggingface.co/me/my-router"
    again = Router.from_pretrained(str(hub / "me" / "my-router"), cache=False)
    assert np.array_equal(_decision(again), _decision(router))


def test_a_backbone_gets_fresh_adapters_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(TINY / "backbone", tmp_path / "some-vlm")
    with caplog.at_level(logging.WARNING):
        router = Router.from_pretrained(
            str(tmp_path / "some-vlm"), cache=False, dtype=torch.float32, seed=7
        )
    assert "fresh" in caplog.text and "seed 7" in caplog.text
    assert router.config.lora_layers is None  # the paper: every layer
    adapted = {
        name.split(".layers.")[1].split(".")[0]
        for name, _ in router.vlm.named_parameters()
        if "lora_A.router" in name
    }
    assert adapted == {str(i) for i in range(6)}
    assert not any("visual" in n for n, _ in router.vlm.named_parameters() if "lora" in n)


def test_a_lora_of_ones_own_replaces_the_papers(tmp_path: Path) -> None:
    shutil.copytree(TINY / "backbone", tmp_path / "some-vlm")
    lora = LoraConfig(
        r=4, target_modules=["q_proj"], layers_to_transform=[5], layers_pattern="layers"
    )
    router = Router.from_pretrained(
        str(tmp_path / "some-vlm"), lora=lora, cache=False, dtype=torch.float32
    )
    assert router.config.lora_layers == 1
    assert sum("lora_A.trend" in name for name, _ in router.vlm.named_parameters()) == 1


@pytest.mark.parametrize("name", ["tinny", "no/such/folder", ""])
def test_an_unknown_router_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(RouterError, match="no router"):
        Router.from_pretrained(name)


def test_a_typo_in_a_folder_is_told_before_any_network(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any, **__: Any) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(storage.PreTrainedConfig, "get_config_dict", asked)
    monkeypatch.chdir(tmp_path)
    router.save_pretrained("runs/sft")
    with pytest.raises(
        RouterError, match=r"no folder runs/sfft \(a hub id .* no folder runs\); there are runs/sft"
    ):
        Router.from_pretrained("runs/sfft")
    with pytest.raises(AssertionError, match="the hub was asked"):
        Router.from_pretrained("Qwen/some-model")


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(RouterError, match="Did you mean 'tiny'"):
        Router.from_pretrained("tinny")


def test_a_router_of_other_features_is_refused_with_the_difference(
    router: Router, tmp_path: Path
) -> None:
    router.save_pretrained(str(tmp_path / "saved"))
    path = tmp_path / "saved" / "config.json"
    record = json.loads(path.read_text())
    record["features"][4] = "turnover"
    path.write_text(json.dumps(record))
    with pytest.raises(RouterError, match="turnover, volume"):
        Router.from_pretrained(str(tmp_path / "saved"))


@pytest.mark.parametrize("lost", ["model.safetensors", "trend/adapter_model.safetensors"])
def test_a_router_with_a_file_missing_is_refused_by_name(
    router: Router, tmp_path: Path, lost: str
) -> None:
    router.save_pretrained(str(tmp_path / "saved"))
    (tmp_path / "saved" / lost).unlink()
    with pytest.raises(RouterError, match=lost):
        Router.from_pretrained(str(tmp_path / "saved"))


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        ("series.deviation", lambda value: value * 0.0, "no usable scaler for close, high"),
        ("series.mean", lambda value: value * np.nan, "no usable scaler for close, high"),
        ("series.mean", lambda value: value[:-1].clone(), r"series.mean is of shape \(16,\), not"),
        (
            "heads.policies.position.weight",
            lambda value: value[:2].clone(),
            r"policies.position.weight is of shape \(2, 256\), not \(3, 256\)",
        ),
    ],
)
def test_weights_that_fit_nothing_are_refused_by_name(
    router: Router, tmp_path: Path, key: str, change: Any, said: str
) -> None:
    router.save_pretrained(str(tmp_path / "saved"))
    path = tmp_path / "saved" / "model.safetensors"
    state = load_file(path)
    state[key] = change(state[key])
    save_file(state, path)
    with pytest.raises(RouterError, match=said):
        Router.from_pretrained(str(tmp_path / "saved"))


def test_experts_of_ones_own_get_fresh_heads_on_the_same_backbone(
    router: Router, tmp_path: Path
) -> None:
    experts = {**EXPERTS, "breakout": ("volume_breakout", "mine")}
    new = Router.from_pretrained("tiny", experts=experts, cache=False)
    assert {name: tuple(rules) for name, rules in new.rules.items()} == experts
    assert new.trained == {} and set(new.config.training) == {"stage 0"}
    base = new.backbone.state_dict()
    kept = {k: v for k, v in router.backbone.state_dict().items() if ".lora_" not in k}
    assert all(torch.equal(value, base[key]) for key, value in kept.items())
    assert torch.equal(new.series.project.weight, router.series.project.weight)
    mine = replace(POOL["atr_breakout"], name="mine")
    bars = sample_bars("sp500")[:400]
    planned = plan(bars, new, pool={**POOL, "mine": mine}, experts=experts)
    assert stamps_of(planned.target) == {"UNTRAINED ROUTER": None} and not router.stamps
    assert planned.decisions[0].rules["breakout"] in experts["breakout"]
    new.save_pretrained(str(tmp_path / "saved"))
    again = Router.from_pretrained(str(tmp_path / "saved"), cache=False)
    assert again.model == new.model and again.rules == new.rules


def test_the_routers_own_experts_leave_it_trained(router: Router) -> None:
    same = Router.from_pretrained("tiny", experts=EXPERTS, cache=False)
    assert same.trained and same.model == router.model


def test_the_embedded_router_fits_its_budget() -> None:
    size = sum(path.stat().st_size for path in TINY.rglob("*") if path.is_file())
    assert size <= 25_000_000
    assert "tiny" in BACKBONES


def test_a_folder_that_a_killed_run_left_half_written_is_written_over(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "own")
    own = Router.from_pretrained(str(tmp_path / "own"), cache=False)
    half = tmp_path / "checkpoint-4"
    shutil.copytree(TINY / "backbone", half / "backbone")
    storage.write_router(own, half)
    assert Router.from_pretrained(str(half), cache=False).model == own.model


def test_a_tiny_of_its_own_takes_its_backbone_along(tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(TINY, own)
    path = own / "backbone" / "model.safetensors"
    save_file(
        {name: 0.5 * value for name, value in load_file(path).items()}, path, {"format": "pt"}
    )
    record = json.loads((own / "config.json").read_text())  # of another tiny now
    (own / "config.json").write_text(json.dumps(record | {"backbone_digest": None}))
    first = Router.from_pretrained(str(own), cache=False)
    first.save_pretrained(str(tmp_path / "saved"))
    shutil.rmtree(own)
    again = Router.from_pretrained(str(tmp_path / "saved"), cache=False)
    assert again.model == first.model != Router.from_pretrained("tiny", cache=False).model


def test_the_packaged_tiny_is_named_and_not_copied(router: Router, tmp_path: Path) -> None:
    router.save_pretrained(str(tmp_path / "saved"))
    assert not (tmp_path / "saved" / "backbone").exists()


def test_adapters_name_the_backbone_and_no_folder_of_ours(router: Router, tmp_path: Path) -> None:
    router.save_pretrained(str(tmp_path / "saved"))
    for adapter in ("router", *router.rules):
        record = json.loads((tmp_path / "saved" / adapter / "adapter_config.json").read_text())
        assert record["base_model_name_or_path"] == "tiny"
