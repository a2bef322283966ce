"""What the switches of stage 2 claim to do, and the roads on which settings reach it."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import RepoUrl
from safetensors.torch import load_file
from scipy.special import softmax

from mmdrex.observation.observation import Observer
from mmdrex.router.router import Router
from mmdrex.training import rl, sft
from mmdrex.training.arguments import given_settings
from mmdrex.training.learner import Learner
from mmdrex.training.losses import base_reward, behaviours
from mmdrex.training.rl import train_rl
from mmdrex.training.rl_config import RLConfig, rl_config
from mmdrex.training.rollout import Rewards, roll_out, visited
from mmdrex.training.sft_config import TINY as SFT_TINY
from mmdrex.training.sft_config import SFTConfig
from mmdrex.training.trunks import Look, Trunks, look

pytestmark = pytest.mark.usefixtures("alone")

ROOT = Path(__file__).parents[2]


def settings(out, **given):
    usual = {
        "per_device_train_batch_size": 2,
        "update_every": 2,
        "episode_windows": 3,
        "max_steps": 1,
        "save_steps": 1,
        "learning_rate": 1e-3,
        "draws": 16,
        "modalities": "T",
    }
    return rl_config(out, **{**usual, **given})


def train(start, oracle, out, router=None, **given):
    router = router or Router.from_pretrained(str(start), cache=False)
    fit = np.arange(len(oracle.windows)) % 5 > 0
    state = train_rl(router, oracle, fit, np.flatnonzero(~fit), settings(out, **given), False)
    return router, state


# -- sharpness ----------------------------------------------------------------------------------


def test_the_router_kept_is_as_sharp_as_earns_most_on_select(start, oracle, tmp_path):
    factors = [0.5, 2.0, 8.0]
    plain, _ = train(start, oracle, tmp_path / "plain")
    train(start, oracle, tmp_path / "sharp", sharpness=factors)
    sharp = Router.from_pretrained(str(tmp_path / "sharp"), cache=False)
    factor = sharp.config.training["stage 2"]["logits multiplied by"]
    for name, parameter in plain.heads.router.named_parameters():
        assert torch.equal(sharp.heads.router.get_parameter(name), factor * parameter)

    select = np.arange(0, len(oracle.windows), 5)
    trunks = Trunks(plain, oracle, select.tolist())
    with torch.autocast("cpu", torch.bfloat16):
        seen = look(plain, trunks, select.tolist(), 0, 1)
    rules = list(plain.rules.values())
    chosen = [logits.argmax(axis=1) for logits in seen.policies]
    columns = np.stack(
        [
            [oracle.rules.index(own[place]) for place in places]
            for own, places in zip(rules, chosen, strict=True)
        ],
        axis=1,
    )

    def reward(factor):
        told = oracle.blend(select, softmax(factor * seen.weights, axis=1), columns)
        return base_reward(told.excess, told.sharpe, told.drawdown).mean()

    assert factor == max(factors, key=reward)
    record = sharp.config.training["stage 2"]
    assert record["reward on select, sharpened"] == pytest.approx(reward(factor), rel=1e-6)
    assert "logits multiplied by" not in plain.config.training["stage 2"]


@pytest.mark.parametrize("factors", [[], [1.0, 0.0], [-2.0], [math.nan], [1.0, math.inf]])
def test_a_sharpness_of_nothing_is_refused(tmp_path, factors):
    with pytest.raises(ValueError, match="sharpness takes factors above 0"):
        rl_config(tmp_path, sharpness=factors)


def test_a_router_that_is_kept_is_not_sharpened(tmp_path):
    with pytest.raises(ValueError, match="train_router: false keeps"):
        rl_config(tmp_path, sharpness=[1.0, 8.0], train_router=False)


def test_factors_are_given_by_yaml_or_options(tmp_path):
    file = tmp_path / "rl.yaml"
    file.write_text(f"output_dir: {tmp_path}\nsharpness: [1, 1e1]\n")
    assert given_settings([str(file)], RLConfig)["sharpness"] == [1.0, 10.0]
    options = ["--output_dir", str(tmp_path), "--sharpness", "1", "2.5"]
    assert given_settings(options, RLConfig)["sharpness"] == [1.0, 2.5]
    with pytest.raises(ValueError, match="sharpness must be a number, not 'much'"):
        rl_config(tmp_path, sharpness=["much"])
    with pytest.raises(ValueError, match="sharpness must be a list, not 2"):
        rl_config(tmp_path, sharpness=2)


# -- ablations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("modalities", ["VTL", "TL", "VL"])
def test_a_router_trained_without_a_modality_never_reads_it(start, oracle, tmp_path, modalities):
    train(start, oracle, tmp_path, modalities=modalities)
    router = Router.from_pretrained(str(tmp_path), cache=False)
    assert router.config.modalities == modalities
    one = Observer(oracle.assets["S0"], "S0").at(300)
    blind = replace(one, series=np.zeros_like(one.series))
    mute = replace(one, text="Say nothing.")
    window = one.window.copy()
    for name in ("open", "high", "low", "close"):
        window[name] = window[name][::-1]
    other = replace(one, window=window)
    [told, unseen, unheard, redrawn] = router.decide([one, blind, mute, other])
    changed = {
        "T": not np.array_equal(told.weights, unseen.weights),
        "L": not np.array_equal(told.weights, unheard.weights),
        "V": not np.array_equal(told.weights, redrawn.weights),
    }
    assert changed == {name: name in modalities for name in "TLV"}


def rolled(start, oracle, out, **given):
    """Return router, rollout and what was seen, of random logits."""
    router = Router.from_pretrained(str(start), cache=False)
    config = settings(out, **given)
    visits = rl.schedule(
        oracle.episodes(np.ones(len(oracle.windows), dtype=bool)), 4, 2, 40, 3, seed=1
    ).part(0, 2)
    rows = visited(visits)
    rng = np.random.default_rng(5)
    seen = Look(
        rng.normal(size=(len(rows), 4)),
        [rng.normal(size=(len(rows), len(rules))) for rules in router.rules.values()],
        rng.normal(size=(len(rows), 4)),
    )
    rewards = Rewards(router, oracle, config)
    rollout = roll_out(rewards, visits, rows, seen, config, 10.0, np.random.default_rng(0))
    return router, rollout, seen, rows


def test_without_group_reward_experts_earn_eq_12_alone(start, oracle, tmp_path):
    alone = {"gae_lambda": 0.0, "gamma": 0.0, "beta": 0.5}  # the return is the reward itself
    router, without, seen, rows = rolled(start, oracle, tmp_path, group_reward=False, **alone)
    _, both, _, _ = rolled(start, oracle, tmp_path, **alone)
    assert np.array_equal(without.actions, both.actions)
    shown = behaviours(oracle.figure("mean_target"))
    for k, rules in enumerate(router.rules.values()):
        columns = [oracle.rules.index(rule) for rule in rules]
        for i, row in enumerate(without.rows):
            column = columns[without.actions[i, 0, k]]
            excess, sharpe, drawdown = (
                oracle.figure(name)[row, column] for name in ("excess", "sharpe", "drawdown")
            )
            earned = np.tanh(excess) + 0.5 * np.tanh(sharpe) - drawdown  # eq. 12
            assert without.returned[i, 0, k] == pytest.approx(earned)
            # Eq. 13: beta (log pi_k - log pi_-k) of the behaviour that the chosen rule showed.
            over = []
            for j, names in enumerate(router.rules.values()):
                theirs = [oracle.rules.index(rule) for rule in names]
                same = shown[row, theirs] == shown[row, column]
                over.append(softmax(seen.policies[j][rows.index(row)])[same].sum())
            others = np.mean(np.delete(over, k))
            group = 0.5 * (np.log(over[k] + 0.05) - np.log(others + 0.05))
            assert both.returned[i, 0, k] == pytest.approx(earned + group, abs=1e-6)
    # The router's reward is eq. 12 in both.
    assert np.array_equal(without.reward, both.reward)
    assert np.array_equal(without.baseline, both.baseline)


def test_fixed_experts_follow_their_likeliest_rule(start, oracle, tmp_path):
    _, fixed, seen, rows = rolled(start, oracle, tmp_path, train_experts=False)
    _, free, _, _ = rolled(start, oracle, tmp_path)
    likeliest = np.array(
        [[seen.policies[k][rows.index(row)].argmax() for k in range(4)] for row in fixed.rows]
    )
    assert np.array_equal(fixed.actions[:, 0], likeliest)
    assert not np.array_equal(free.actions[:, 0], likeliest)


@pytest.mark.parametrize(
    ("switch", "kept"), [("train_router", "weights"), ("train_experts", "rules")]
)
def test_who_is_fixed_decides_as_before(start, oracle, tmp_path, switch, kept):
    before = Router.from_pretrained(str(start), cache=False)
    before.config.modalities = before.processor.modalities = "T"
    after, _ = train(start, oracle, tmp_path, **{switch: False})
    one = Observer(oracle.assets["S1"], "S1").at(300)
    [old], [new] = before.decide([one]), after.decide([one])
    same = {
        "weights": np.array_equal(old.weights, new.weights),
        "rules": old.probabilities == new.probabilities,
    }
    assert same == {name: name == kept for name in same}


@pytest.mark.parametrize(("adapters", "heads"), [(1e-3, 0.0), (0.0, 1e-3)])
def test_adapters_and_heads_learn_each_at_their_own_rate(start, oracle, tmp_path, adapters, heads):
    before = Router.from_pretrained(str(start), cache=False).state_dict()
    after, state = train(
        *(start, oracle, tmp_path), learning_rate=adapters, heads_learning_rate=heads
    )
    moved = {name for name, new in after.state_dict().items() if not torch.equal(new, before[name])}
    assert any("lora_B" in name for name in moved) == (adapters > 0)
    # The norm's standardisation is set before the first step, whatever the rates.
    assert any(name.startswith("heads.policies") for name in moved) == (heads > 0)
    assert state.global_step == 1


def test_a_rate_that_is_given_alone_is_that_of_the_heads_too(start, tmp_path):
    router = Router.from_pretrained(str(start), cache=False)
    for given, rates in (
        ({}, [1e-4, 2e-3]),  # tiny's own
        ({"learning_rate": 3e-5}, [3e-5, 3e-5]),
        ({"learning_rate": 3e-5, "heads_learning_rate": 1e-3}, [3e-5, 1e-3]),
    ):
        config = rl_config(tmp_path, **given, warmup_steps=0)
        groups = Learner.of(router, 10, config).optimizer.param_groups
        assert [group["lr"] for group in groups] == rates


def test_the_rates_course_spans_the_passes_of_those_who_learn(start, tmp_path):
    router = Router.from_pretrained(str(start), cache=False)
    usual = {"lr_scheduler_type": "linear", "update_every": 4, "learning_rate": 1.0}
    for given, steps in (
        ({"ppo_epochs": 4, "router_epochs": 1}, 4 * 4 * 10),
        ({"ppo_epochs": 4, "router_epochs": 1, "train_experts": False}, 1 * 4 * 10),
        ({"ppo_epochs": 2, "router_epochs": 3, "train_router": False}, 2 * 4 * 10),
    ):
        learner = Learner.of(router, 10, rl_config(tmp_path, **usual, **given))
        learner.optimizer.step()
        learner.scheduler.step()
        assert learner.scheduler.get_last_lr()[0] == pytest.approx(1 - 1 / steps)


def test_settings_of_a_course_reach_it(start, tmp_path):
    router = Router.from_pretrained(str(start), cache=False)
    config = rl_config(
        *(tmp_path,), lr_scheduler_type="polynomial", lr_scheduler_kwargs={"power": 2.0}
    )
    learner = Learner.of(router, 10, config)
    learner.optimizer.step()
    learner.scheduler.step()
    whole = 10 * config.update_every * 2
    end = 1e-7  # where transformers' polynomial ends
    wanted = (1e-4 - end) * (1 - 1 / whole) ** 2 + end
    assert learner.scheduler.get_last_lr()[0] == pytest.approx(wanted)


# -- precision ----------------------------------------------------------------------------------


def test_bfloat16_loses_what_float32_loses_but_for_rounding(start, oracle, tmp_path):
    _, exact = train(start, oracle, tmp_path / "float32", bf16=False)
    _, rough = train(start, oracle, tmp_path / "bfloat16", bf16=True)
    losses = [state.log_history[0]["loss"] for state in (exact, rough)]
    # Tolerance: bfloat16 keeps 8 bits, and the draws of one update follow from the logits.
    assert losses[1] == pytest.approx(losses[0], abs=0.05)
    assert losses[1] != losses[0]


def test_a_bfloat16_backbone_learns(start, oracle, tmp_path):
    router = Router.from_pretrained(str(start), cache=False, dtype=torch.bfloat16)
    assert router.backbone.dtype == torch.bfloat16
    # A rate of 3e-5 is below what bfloat16 can add to a weight of 0.02.
    assert {value.dtype for name, value in router.vlm.named_parameters() if "lora_" in name} == {
        torch.float32
    }
    train(start, oracle, tmp_path, router=router)
    for agent in ("router", "trend", "position"):
        after = load_file(tmp_path / agent / "adapter_model.safetensors")
        moved = [name for name, value in after.items() if "lora_B" in name and value.abs().max()]
        assert moved  # it started at zero


# -- hub ----------------------------------------------------------------------------------------


class Hub:
    """Stands in for the hub's API and remembers what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, token=None):
        self.calls.append(("token", token))
        return self

    def create_repo(self, repo_id, private=None, exist_ok=False):
        self.calls.append(("create", repo_id))
        return RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload_folder(self, repo_id, folder_path, commit_message, revision):
        files = {path.name for path in Path(folder_path).iterdir()}
        self.calls.append(("upload", repo_id, files))


@pytest.fixture
def hub(monkeypatch):
    fake = Hub()
    monkeypatch.setattr("mmdrex.router.storage.HfApi", fake)
    return fake


PUSH = {"push_to_hub": True, "hub_model_id": "me/router", "hub_token": "secret"}


def pushed(hub):
    assert [call[:2] for call in hub.calls] == [
        ("token", "secret"),
        ("create", "me/router"),
        ("upload", "me/router"),
    ]
    assert {"config.json", "model.safetensors", "router", "trend", "README.md"} <= hub.calls[2][2]
    return True


def test_stage_2_pushes_the_finished_router_once(start, oracle, tmp_path, hub):
    train(start, oracle, tmp_path, **PUSH)
    assert pushed(hub)


def test_stage_1_pushes_the_finished_router_once(micro_router, markets, tmp_path, hub, monkeypatch):
    def unasked(*_, **__):
        raise AssertionError("Trainer must leave the hub alone")

    monkeypatch.setattr("transformers.trainer.hf_api", unasked)
    config = sft.sft_config(
        tmp_path / "run",
        model="micro",
        data="test",
        use_cpu=True,
        max_steps=2,
        save_steps=1,
        eval_steps=1,
        stride=60,
        per_device_train_batch_size=4,
        select_samples=4,
        **PUSH,
    )
    sft.train_sft(micro_router("T"), markets, config, progress=False)
    assert pushed(hub)


# -- roads --------------------------------------------------------------------------------------


def write(path, record):
    path.write_text("\n".join(f"{name}: {value}" for name, value in record.items()))
    return path


def module(name, path, cache):
    done = subprocess.run(
        [sys.executable, "-m", f"mmdrex.training.{name}", str(path)],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MMDREX_CACHE": cache},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_both_stages_train_from_yaml(micro_router, tmp_path):
    start = tmp_path / "start"
    micro_router("T").save_pretrained(str(start))
    usual = {"data": "simulated:2", "use_cpu": "true", "max_steps": 2, "learning_rate": 0.001}
    first = {"output_dir": "one", "model": start, "stride": 60, "eval_steps": 1, "save_steps": 1}
    path = write(tmp_path / "sft.yaml", {**usual, **first, "per_device_train_batch_size": 4})
    module("sft", path, str(tmp_path / "cache"))
    second = {"output_dir": "two", "init": tmp_path / "one", "update_every": 2}
    path = write(tmp_path / "rl.yaml", {**usual, **second, "per_device_train_batch_size": 2})
    module("rl", path, str(tmp_path / "cache"))
    record = json.loads((tmp_path / "two" / "config.json").read_text())["training"]
    assert record["stage 1"]["steps"] == 2 and record["stage 1"]["learning_rate"] == 1e-3
    assert record["stage 2"]["updates"] == 2 and record["stage 2"]["learning_rate"] == 1e-3


@pytest.mark.parametrize("road", ["yaml", "options"])
def test_tiny_is_taught_with_its_own_settings_on_every_road(tmp_path, monkeypatch, road):
    seen = []
    monkeypatch.setattr(sft, "train_sft", lambda *given: seen.append(given[2]))
    settings = {"output_dir": tmp_path / "out", "data": "simulated:1"}
    arguments = {
        "yaml": [str(write(tmp_path / "a.yaml", settings))],
        "options": [part for name, value in settings.items() for part in (f"--{name}", str(value))],
    }
    sft.main(arguments[road])
    assert seen[0].learning_rate == SFT_TINY["learning_rate"] and seen[0].bf16


def test_options_that_were_not_given_are_left_to_defaults(tmp_path):
    out = str(tmp_path)
    given = given_settings(["--output_dir", out, "--beta", "0.1", "--bf16", "true"], RLConfig)
    assert given == {"output_dir": out, "beta": 0.1, "bf16": True}


def test_yaml_reads_an_exponent_without_a_point_as_a_number(tmp_path):
    record = {"output_dir": "out", "learning_rate": "1e-3", "eval_steps": 5}
    given = given_settings([str(write(tmp_path / "sft.yaml", record))], SFTConfig)
    assert given == {"output_dir": "out", "learning_rate": 1e-3, "eval_steps": 5}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("learning_rat: 1", "no setting 'learning_rat'.*Did you mean 'learning_rate'"),
        ("output_dir: out\nlearning_rate: fast", "learning_rate must be a number, not 'fast'"),
        ("data: prices", "output_dir is missing"),
        ("- learning_rate", "no list of settings"),
    ],
)
def test_yaml_that_no_run_could_use_is_refused(tmp_path, line, said):
    (tmp_path / "rl.yaml").write_text(line)
    with pytest.raises(ValueError, match=said):
        given_settings([str(tmp_path / "rl.yaml")], RLConfig)
