import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from transformers import HfArgumentParser, TrainerCallback
from transformers.trainer_callback import TrainerState

from mmdrex.data.simulated import simulated_bars
from mmdrex.errors import LossError
from mmdrex.observation.observation import Observer
from mmdrex.router.router import ADAPTER, Router
from mmdrex.training import rl, update
from mmdrex.training.episodes import schedule
from mmdrex.training.oracle import build_oracle
from mmdrex.training.oracle_table import FIGURES
from mmdrex.training.rl import run, select_rows, train_rl
from mmdrex.training.rl_config import RLConfig, rl_config
from mmdrex.training.rollout import Rewards, roll_out, visited
from mmdrex.training.trunks import Trunks, by_length, look, outputs

pytestmark = pytest.mark.usefixtures("alone")

ADAPTERS = (ADAPTER, "trend", "reversal", "breakout", "position")


def settings(out, **given):
    usual = {
        "per_device_train_batch_size": 4,
        "update_every": 2,
        "episode_windows": 3,
        "max_steps": 4,
        "save_steps": 1,
        "learning_rate": 1e-3,
        "draws": 16,
        "windows_at_once": 16,
        "modalities": "T",
    }
    return rl_config(out, **{**usual, **given})


def train(start, oracle, out, callbacks=(), **given):
    router = Router.from_pretrained(str(start), cache=False)
    router.batch = 16
    fit = np.arange(len(oracle.windows)) % 5 > 0
    state = train_rl(
        router, oracle, fit, np.flatnonzero(~fit), settings(out, **given), False, callbacks
    )
    return router, state


def weights(folder):
    files = sorted(Path(folder).rglob("*.safetensors"))
    return {
        f"{file.relative_to(folder)}:{name}": tensor
        for file in files
        for name, tensor in load_file(file).items()
    }


# -- order, rollout, update ---------------------------------------------------------------------


def test_schedule_follows_each_episode_window_by_window(oracle):
    episodes = oracle.episodes(np.ones(len(oracle.windows), dtype=bool))
    visits = schedule(episodes, 4, 2, 40, 3, seed=1)
    assert len(visits.rows) % 2 == 0
    for lane in range(4):
        for step in range(len(visits.rows) - 1):
            row, after = visits.rows[step, lane], visits.rows[step + 1, lane]
            if visits.ends[step, lane]:
                assert visits.following[step, lane] == row
            else:
                assert visits.following[step, lane] == after
                assert oracle.windows[after, 0] == oracle.windows[row, 0]
                assert oracle.windows[after, 1] == oracle.windows[row, 1] + 90


def test_schedule_of_too_few_episodes_says_what_helps():
    with pytest.raises(ValueError, match="do not fill one update of 16 x 4 windows"):
        schedule([np.arange(3)], 16, 4, 10, 3, seed=1)


def test_rollout_earns_the_tables_rewards_of_the_rules_drawn(start, oracle, tmp_path):
    router = Router.from_pretrained(str(start), cache=False)
    config = settings(tmp_path, group_reward=False, draws=3)
    rewards = Rewards(router, oracle, config)
    visits = schedule(
        oracle.episodes(np.ones(len(oracle.windows), dtype=bool)), 4, 2, 40, 3, seed=1
    ).part(0, 2)
    rows = visited(visits)
    trunks = Trunks(router, oracle, rows)
    seen = look(router, trunks, rows, 0, 1)
    rollout = roll_out(rewards, visits, rows, seen, config, 10.0, np.random.default_rng(0))
    assert rollout.actions.shape == (8, 3, 4)
    assert np.allclose(rollout.weights.sum(axis=-1), 1.0)
    assert not np.array_equal(rollout.weights[:, 0], rollout.weights[:, 1])
    for i, life in np.ndindex(8, 3):
        row = rollout.rows[i]
        earned = []
        for k, rules in enumerate(router.rules.values()):
            column = oracle.rules.index(rules[rollout.actions[i, life, k]])
            excess, sharpe, drawdown = (
                oracle.figure(name)[row, column] for name in ("excess", "sharpe", "drawdown")
            )
            earned.append(np.tanh(excess) + 0.5 * np.tanh(sharpe) - drawdown)  # eq. 12
            policy = softmax(seen.policies[k][rows.index(row)])
            drawn = np.log(policy[rollout.actions[i, life, k]])
            assert rollout.log_policy[i, life, k] == pytest.approx(drawn)
        assert rollout.reward[i, life] == pytest.approx(rollout.weights[i, life] @ earned)
        alpha = 1 + 10 * softmax(seen.weights[rows.index(row)])
        assert rollout.baseline[i, life] == pytest.approx(alpha @ earned / alpha.sum())


def test_look_says_what_inference_decides(start, oracle):
    router = Router.from_pretrained(str(start), cache=False)
    trunks = Trunks(router, oracle, [0, 7])
    seen = look(router, trunks, [7, 0], 0, 1)
    symbol, start_row = oracle.symbols[oracle.windows[7, 0]], int(oracle.windows[7, 1])
    observation = Observer(oracle.assets[symbol], symbol).at(start_row)
    [decision] = router.decide([observation])
    # Tolerance: training keeps image tokens as float16.
    assert softmax(seen.weights[0]) == pytest.approx(decision.weights, abs=1e-3)
    policy = list(decision.probabilities["trend"].values())
    assert softmax(seen.policies[0][0]) == pytest.approx(policy, abs=1e-3)


def test_mixed_pass_of_all_adapters_equals_one_pass_each(start, oracle):
    router = Router.from_pretrained(str(start), cache=False)
    trunks = Trunks(router, oracle, [0])
    [(_, trunk)] = by_length([trunks(0)], 1)
    together = outputs(router, trunk, ADAPTERS)
    for name in ADAPTERS[1:]:
        alone = outputs(router, trunk, [name])
        assert torch.allclose(alone.policies[name], together.policies[name], atol=1e-6)


def test_loss_of_many_draws_is_the_mean_of_the_losses_of_each(start, oracle, tmp_path):
    router = Router.from_pretrained(str(start), cache=False)
    config = settings(tmp_path, draws=3)
    visits = schedule(oracle.episodes(np.ones(len(oracle.windows), dtype=bool)), 4, 2, 40, 3, 1)
    visits = visits.part(0, 2)
    rows = visited(visits)
    trunks = Trunks(router, oracle, rows)
    rewards, seen = Rewards(router, oracle, config), look(router, trunks, rows, 0, 1)
    many = roll_out(rewards, visits, rows, seen, config, 10.0, np.random.default_rng(0))
    places, trunk = next(by_length([trunks(int(row)) for row in many.rows], 8))
    told = outputs(router, trunk, ADAPTERS)

    def loss(rollout):
        return update._samples_loss(router, told, rollout, np.array(places), ADAPTERS, config)

    def life(number):
        parts = many._asdict()
        parts.pop("rows")
        return many._replace(**{name: part[:, [number]] for name, part in parts.items()})

    alone = torch.stack([loss(life(number)) for number in range(3)])
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)
    assert torch.allclose(loss(many), alone.mean(dim=0), atol=1e-6)


def test_only_what_is_trained_moves(start, oracle, tmp_path):
    before = weights(start)
    train(start, oracle, tmp_path / "router", train_experts=False, max_steps=1)
    train(start, oracle, tmp_path / "experts", train_router=False, max_steps=1)
    for name, moves in (
        ("router", ("router/", "heads.router", "heads.norm")),
        (
            "experts",
            ("trend/", "reversal/", "breakout/", "position/", "heads.policies", "heads.values"),
        ),
    ):
        after = weights(tmp_path / name)
        changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
        assert changed
        assert all(any(part in key for part in moves) for key in changed)


def test_a_run_that_goes_on_from_another_keeps_its_record(start, oracle, tmp_path):
    train(start, oracle, tmp_path / "experts", train_router=False, max_steps=1)
    for out, init, names in (
        ("both", "experts", ["stage 2, run 1", "stage 2"]),
        ("again", "both", ["stage 2, run 1", "stage 2, run 2", "stage 2"]),
    ):
        router, _ = train(tmp_path / init, oracle, tmp_path / out, max_steps=1)
        assert {name for name in router.config.training if "stage 2" in name} == set(names)
    kept = [router.config.training[name]["train_router"] for name in names]
    assert kept == [False, True, True]


def test_fresh_start_forgets_adapters_and_heads(start, oracle, tmp_path):
    router, _ = train(start, oracle, tmp_path, fresh_start=True, max_steps=1, learning_rate=1e-9)
    old = weights(start)
    new = weights(tmp_path)
    assert not torch.allclose(
        new["model.safetensors:heads.router.weight"],
        old["model.safetensors:heads.router.weight"],
        atol=1e-4,
    )
    key = "model.safetensors:series.project.weight"
    assert torch.equal(new[key], old[key])
    assert router.config.modalities == "T"


# -- it learns ----------------------------------------------------------------------------------


def planted(folder):
    """Return an oracle where the sign of the drift decides which expert earns, and where it is up.

    What the windows show is simulated, what rules earn there is planted: momentum of the trend
    expert 1 in rising markets, kdj of the reversal expert 1 in falling ones, all else nothing.
    """
    assets = {
        f"{regime}{seed}": simulated_bars(seed, bars=560, drift=0.6, regimes=(regime,))[0]
        for regime in ("up", "down")
        for seed in (0, 1)
    }
    oracle = build_oracle(assets, folder=folder)
    up = np.array([oracle.symbols[asset].startswith("up") for asset, _ in oracle.windows])
    figures = np.zeros_like(oracle.figures)
    excess = figures[FIGURES.index("excess")]
    excess[up, oracle.rules.index("momentum")] = 1.0
    excess[~up, oracle.rules.index("kdj")] = 1.0
    return replace(oracle, figures=figures), up


def scaled(start, oracle, folder):
    """Return the folder of the router with its scaler fitted to the windows, as SFT does."""
    router = Router.from_pretrained(str(start), cache=False)
    observers = [Observer(bars, name) for name, bars in oracle.assets.items()]
    series = np.concatenate([observers[a].at(int(d)).series for a, d in oracle.windows])
    router.series.mean.copy_(torch.from_numpy(series.mean(axis=0)))
    router.series.deviation.copy_(torch.from_numpy(np.maximum(series.std(axis=0), 1e-6)))
    router.save_pretrained(str(folder))
    return folder


def test_router_and_experts_learn_who_is_right(start, tmp_path):
    market, up = planted(tmp_path / "oracle")
    router, state = train(
        scaled(start, market, tmp_path / "start"),
        market,
        tmp_path / "out",
        per_device_train_batch_size=16,
        update_every=2,
        max_steps=15,
        save_steps=15,
        learning_rate=2e-3,
        max_episodes=4000,
    )
    trunks = Trunks(router, market, range(len(up)))
    seen = look(router, trunks, list(range(len(up))), 0, 1)
    share = softmax(seen.weights, axis=1)
    right = np.where(up, share[:, 0] > share[:, 1], share[:, 1] > share[:, 0])
    assert right.mean() > 0.9  # a router that ignores the series is right on half
    assert share[:, :2].sum(axis=1).mean() > 0.7  # the other two experts never earn anything
    momentum = softmax(seen.policies[0], axis=1)[up, router.rules["trend"].index("momentum")]
    assert momentum.mean() > 0.6
    rewards = [entry["reward"] for entry in state.log_history]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.1


# -- checkpoints --------------------------------------------------------------------------------


class Stop(TrainerCallback):
    def __init__(self, after):
        self.after = after

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.after:
            raise KeyboardInterrupt


def test_a_resumed_run_ends_bit_for_bit_where_an_undisturbed_one_does(start, oracle, tmp_path):
    train(start, oracle, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(start, oracle, tmp_path / "broken", [Stop(3)])
    assert (tmp_path / "broken" / "checkpoint-2").is_dir()
    train(start, oracle, tmp_path / "broken", resume_from_checkpoint="true")
    for part in ("", "checkpoint-4"):
        whole, broken = weights(tmp_path / "whole" / part), weights(tmp_path / "broken" / part)
        assert {k for k in whole if "checkpoint" not in k} == {
            k for k in broken if "checkpoint" not in k
        }
        assert all(torch.equal(whole[k], broken[k]) for k in whole if "checkpoint" not in k)


def test_a_checkpoint_says_what_made_it(start, oracle, tmp_path):
    router, state = train(start, oracle, tmp_path, max_steps=3)
    kept = {path.name for path in tmp_path.glob("checkpoint-*")}
    assert f"checkpoint-{state.best_global_step}" in kept and "checkpoint-3" in kept
    assert len(kept) <= 2
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["training"]["stage 2"]["seed"] == 42
    assert record["training"]["stage 2"]["best update"] == state.best_global_step
    first, last = record["trained"]["exchange"]
    assert first < last
    best = max(state.log_history, key=lambda entry: entry["select_reward"])
    assert state.best_metric == best["select_reward"]
    stored = Router.from_pretrained(str(tmp_path), cache=False)
    for (name, ours), (_, theirs) in zip(
        router.state_dict().items(), stored.state_dict().items(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_other_settings_do_not_resume_a_run(start, oracle, tmp_path):
    train(start, oracle, tmp_path, max_steps=1)
    with pytest.raises(ValueError, match=r"is of an earlier run; go on .* with --resume"):
        train(start, oracle, tmp_path, max_steps=1)
    for name, was, now in (
        ("gamma", 0.99, 0.5),
        ("draws", 16, 2),
        ("lr_scheduler_type", "linear", "constant"),
    ):
        other = {name: now, "resume_from_checkpoint": "true"}
        with pytest.raises(ValueError, match=rf"another {name} \(was {was}, is {now}\)"):
            train(start, oracle, tmp_path, max_steps=1, **other)


def _edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def _edit_weights(path, change):
    state = load_file(path)
    change(state)
    save_file(state, path)


def _other_rule(folder):
    _edit(
        folder / "config.json",
        lambda one: one["rules"].__setitem__(0, ["ma_cross", "hull", "turtle"]),
    )


def _other_feature(folder):
    _edit(folder / "config.json", lambda one: one["features"].__setitem__(0, "opening"))


def _other_scaler(folder):
    _edit_weights(
        folder / "model.safetensors", lambda state: state["series.deviation"][0].fill_(7.0)
    )


def _no_scaler(folder):
    _edit_weights(folder / "model.safetensors", lambda state: state.pop("series.mean"))


def _smaller_head(folder):
    def cut(state):
        state["heads.policies.trend.weight"] = state["heads.policies.trend.weight"][:2].clone()

    _edit_weights(folder / "model.safetensors", cut)


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (_other_rule, r"rules \(was .*hull.*, is .*momentum"),
        (_other_feature, r"features \(was \['opening'"),
        (_other_scaler, r"series.deviation of the feature close \(was 7, is "),
        (_no_scaler, r"series.mean \(missing\)"),
        (_smaller_head, r"heads.policies.trend.weight \(was of shape \(2, 64\), is \(3, 64\)\)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_with_the_difference(
    start, oracle, tmp_path, alter, said
):
    train(start, oracle, tmp_path, max_steps=2)
    alter(tmp_path / "checkpoint-2")
    with pytest.raises(ValueError, match=rf"checkpoint-2 does not fit .*{said}"):
        train(start, oracle, tmp_path, max_steps=2, resume_from_checkpoint="true")


def test_a_run_is_not_resumed_from_another_start(start, oracle, tmp_path):
    train(start, oracle, tmp_path / "run", max_steps=1)
    train(start, oracle, tmp_path / "other", max_steps=1)
    with pytest.raises(ValueError, match="can't be resumed with another start"):
        train(
            *(tmp_path / "other", oracle, tmp_path / "run"),
            max_steps=1,
            resume_from_checkpoint="true",
        )


def test_a_run_goes_on_in_another_folder_beside_copies_of_checkpoints(start, oracle, tmp_path):
    train(start, oracle, tmp_path / "run", max_steps=1)
    first = tmp_path / "run" / "checkpoint-1"
    for name in ("checkpoint-1.bak", "checkpoint-best", "checkpoint-1-keep"):
        shutil.copytree(first, tmp_path / "other" / name)
    again = {"max_steps": 1, "resume_from_checkpoint": str(first)}
    _, state = train(start, oracle, tmp_path / "other", **again)
    assert state.global_step == 1
    assert (tmp_path / "other" / "config.json").exists()
    assert (tmp_path / "other" / "checkpoint-1-keep").exists()


def test_a_router_of_no_numbers_is_not_kept(start, oracle, tmp_path, monkeypatch):
    usual = rl.learn

    def broken(router, *given):
        figures = usual(router, *given)
        with torch.no_grad():  # the last step of an update: no loss tells of it
            next(router.heads.parameters()).fill_(torch.nan)
        return figures

    monkeypatch.setattr(rl, "learn", broken)
    monkeypatch.setattr(rl.Trade, "on_select", lambda _: {"select_reward": 1.0})
    with pytest.raises(LossError, match=r"heads\..* is not finite after step 1: nothing of it"):
        train(start, oracle, tmp_path, max_steps=1)
    assert not (tmp_path / "config.json").exists() and not list(tmp_path.glob("checkpoint-*"))


class Ask(TrainerCallback):
    """Asks for what the settings don't, and remembers what came."""

    def __init__(self, **asked):
        self.asked, self.seen = asked, []

    def on_step_end(self, args, state, control, **kwargs):
        for name, step in self.asked.items():
            if state.global_step == step:
                setattr(control, name, True)

    def on_init_end(self, args, state, control, **kwargs):
        self.begun = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.begun.append(state.global_step)

    def on_save(self, args, state, control, **kwargs):
        self.seen.append(("save", state.global_step))

    def on_log(self, args, state, control, **kwargs):
        self.seen.append(("log", state.global_step))


def test_callbacks_steer_the_loop(start, oracle, tmp_path):
    ask = Ask(should_log=2, should_save=3, should_training_stop=5)
    _, state = train(
        *(start, oracle, tmp_path, [ask]), max_steps=8, save_steps=8, logging_steps=100
    )
    assert ask.seen == [("log", 2), ("log", 3), ("save", 3), ("log", 5), ("save", 5)]
    assert ask.begun == [0, 1, 2, 3, 4]
    assert state.global_step == 5 and state.best_global_step in (3, 5)
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-3", "checkpoint-5"}


def test_shares_of_a_run_count_as_in_trainer(start, oracle, tmp_path):
    ask = Ask()
    train(start, oracle, tmp_path, [ask], max_steps=4, save_steps=0.5, logging_steps=0.5)
    assert [step for what, step in ask.seen if what == "save"] == [2, 4]


def test_one_process_of_many_reports(tmp_path):
    config, state = settings(tmp_path), TrainerState()
    for index in (0, 1):
        told = SimpleNamespace(
            **{name: getattr(config, name) for name in ("logging_steps", "eval_steps")},
            save_steps=5,
            process_index=index,
            local_process_index=index,
        )
        rl._told_apart(state, 10, told)
        assert state.is_world_process_zero == (index == 0)


def test_a_loss_that_is_no_number_stops_and_keeps_the_batch(start, oracle, tmp_path, monkeypatch):
    monkeypatch.setattr(update, "router_loss", lambda logits, *rest: logits.sum(dim=1) * np.nan)
    with pytest.raises(LossError, match="the loss is nan at update 0"):
        train(start, oracle, tmp_path)
    batch = load_file(tmp_path / "bad_batch_0.safetensors")
    assert batch["rows"].shape == (4,) and batch["weights"].shape == (4, 16, 4)


def test_a_gradient_that_is_no_number_stops_before_the_weights_take_it(
    start, oracle, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        update.nn.utils, "clip_grad_norm_", lambda parameters, largest: torch.tensor(torch.inf)
    )
    with pytest.raises(LossError, match="the gradient's norm is inf at update 0"):
        train(start, oracle, tmp_path)
    assert (tmp_path / "bad_batch_0.safetensors").is_file()
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["save_strategy", "eval_strategy", "logging_strategy"])
def test_what_counts_epochs_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name} is steps or no, not 'epoch'"):
        settings(tmp_path, **{name: "epoch"})


# -- settings -----------------------------------------------------------------------------------


def test_defaults_are_the_papers(tmp_path):
    [config] = HfArgumentParser(RLConfig).parse_args_into_dataclasses(
        ["--output_dir", str(tmp_path), "--use_cpu", "true"]
    )
    assert (config.learning_rate, config.gamma, config.gae_lambda) == (3e-5, 0.99, 0.95)
    assert (config.clip_epsilon, config.max_grad_norm, config.seed) == (0.15, 0.5, 42)
    assert (config.per_device_train_batch_size, config.update_every) == (16, 4)
    assert (config.max_episodes, config.ppo_epochs, config.beta) == (2500, 4, 0.005)
    assert (config.alpha_r, config.alpha_s, config.c1, config.c2, config.c3) == (
        1.0,
        0.5,
        0.5,
        0.01,
        0.01,
    )


def test_wrong_settings_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"no split 'selekt'.*Did you mean 'select'"):
        rl_config(tmp_path, select_split="selekt")
    with pytest.raises(ValueError, match="fitted on 'train' can't be chosen on 'select'"):
        rl_config(tmp_path, fit_split="train")
    with pytest.raises(ValueError, match="router_epochs must be a whole number of at least 1"):
        rl_config(tmp_path, router_epochs=0)
    with pytest.raises(ValueError, match="stage 2 has no use for dataloader_num_workers"):
        rl_config(tmp_path, dataloader_num_workers=4)
    with pytest.raises(ValueError, match="there is nothing to train"):
        rl_config(tmp_path, train_experts=False, train_router=False)
    with pytest.raises(ValueError, match="update_every must be a whole number"):
        rl_config(tmp_path, update_every=0)
    with pytest.raises(
        ValueError, match="stage 2 has no use for fp16, gradient_accumulation_steps"
    ):
        rl_config(tmp_path, fp16=True, gradient_accumulation_steps=4)
    with pytest.raises(ValueError, match="no optim 'adafactor'"):
        rl_config(tmp_path, optim="adafactor")
    with pytest.raises(ValueError, match="no lr_scheduler_type 'reduce_lr_on_plateau'"):
        rl_config(tmp_path, lr_scheduler_type="reduce_lr_on_plateau", eval_strategy="steps")


def test_settings_that_say_what_holds_anyway_are_taken(tmp_path):
    config = rl_config(
        tmp_path, gradient_checkpointing=False, fp16=False, fsdp="", optim="adamw_torch"
    )
    assert replace(config, seed=1).seed == 1


def test_markets_that_end_before_select_are_refused(start, oracle, tmp_path):
    (tmp_path / "data").mkdir()
    oracle.assets["S0"].to_csv(tmp_path / "data" / "S0.csv")  # of the year 2000
    config = settings(tmp_path / "out", init=str(start), data=str(tmp_path / "data"))
    with pytest.raises(ValueError, match="no window of 90 bars lies in the split 'select'"):
        run(config, progress=False)


def test_select_takes_windows_that_do_not_overlap(oracle):
    rows = select_rows(oracle, "train")
    for asset in range(len(oracle.symbols)):
        starts = oracle.windows[rows, 1][oracle.windows[rows, 0] == asset]
        assert starts[0] == 198 and (np.diff(starts) == 90).all()
