"""A folder of a router that is cut short, edited or mixed with another is refused in a sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmdrex.errors import RouterError
from mmdrex.router.backbone import TINY
from mmdrex.router.router import Router


def half_of(name):
    def cut(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return cut


def removed(name):
    return lambda folder: (folder / name).unlink()


def settings(**given):
    def edit(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | given))

    return edit


def adapter(change):
    def edit(folder):
        path = folder / "trend" / "adapter_model.safetensors"
        save_file(change(load_file(path)), path)

    return edit


def renamed(weights):
    return {key.replace("q_proj", "x_proj"): value for key, value in weights.items()}


def no_numbers(weights):
    return {key: value * torch.nan for key, value in weights.items()}


def thinner(weights):
    return {key: value[:1].contiguous() for key, value in weights.items()}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (half_of("model.safetensors"), "can't be loaded: .*file is cut short"),
        (half_of("trend/adapter_model.safetensors"), "can't be loaded: .*file is cut short"),
        (half_of("backbone/model.safetensors"), "can't be loaded: .*file is cut short"),
        (half_of("trend/adapter_config.json"), "trend/adapter_config.json is damaged"),
        (removed("trend/adapter_config.json"), "has no trend/adapter_config.json; a router needs"),
        (removed("config.json"), "holds no config.json of a model"),
        (settings(experts=None), "config.json of .* is damaged"),
        (settings(lookback="abc"), "config.json of .* is damaged: .*lookback"),
        (settings(rules=[["cash"]]), "config.json of .* is damaged: experts, rules"),
        (adapter(renamed), "trend holds other weights than its settings say: .*q_proj"),
        (adapter(no_numbers), r"holds .*lora_A\.trend\.weight, which is not finite"),
        (adapter(thinner), "can't be loaded: size mismatch"),
    ],
)
def test_damage_is_named(tmp_path, damage, said):
    folder = tmp_path / "router"
    shutil.copytree(TINY, folder)
    damage(folder)
    with pytest.raises(RouterError, match=said):
        Router.from_pretrained(str(folder), cache=False)


def test_a_tiny_that_lost_its_own_backbone_does_not_stand_on_the_packaged_one(tmp_path):
    def stored(name, backbone: Path):
        shutil.copytree(TINY, tmp_path / name, ignore=shutil.ignore_patterns("backbone"))
        shutil.copytree(backbone, tmp_path / name / "backbone")
        settings(backbone_digest=None)(tmp_path / name)
        return Router.from_pretrained(str(tmp_path / name), cache=False)

    other = tmp_path / "other"
    shutil.copytree(TINY / "backbone", other)
    weights = load_file(other / "model.safetensors")
    name = next(key for key in weights if key.endswith("mlp.down_proj.weight"))
    weights[name] = weights[name] * 1.01
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    stored("first", other).save_pretrained(tmp_path / "router")
    Router.from_pretrained(str(tmp_path / "router"), cache=False)
    shutil.rmtree(tmp_path / "router" / "backbone")
    with pytest.raises(RouterError, match="was trained on another tiny"):
        Router.from_pretrained(str(tmp_path / "router"), cache=False)


def test_a_tiny_rounded_to_bfloat16_is_saved_as_one_of_the_packaged_backbone(tmp_path):
    rounded = Router.from_pretrained("tiny", cache=False, dtype=torch.bfloat16)
    rounded.save_pretrained(tmp_path / "router")
    Router.from_pretrained(str(tmp_path / "router"), cache=False)
