"""Settings of both stages: what a user may give, and what is said of all else."""

import runpy
import sys

import pytest

from mmdrex.training import arguments
from mmdrex.training.arguments import checked_settings, given_settings
from mmdrex.training.rl_config import RLConfig, rl_config
from mmdrex.training.sft_config import SFTConfig, sft_config

STAGES = {"sft": SFTConfig, "rl": RLConfig}


@pytest.mark.parametrize(
    ("stage", "text", "said"),
    [
        ("sft", "stride: ten", r"sft\.yaml: stride must be a whole number, not 'ten'$"),
        ("rl", "draws: many", r"rl\.yaml: draws must be a whole number, not 'many'$"),
        ("rl", "max_steps: few", r"rl\.yaml: max_steps must be a whole number, not 'few'$"),
        ("rl", "max_steps: 2.5", r"max_steps must be a whole number, not 2\.5$"),
        ("rl", "data: [a, b]", r"rl\.yaml: data must be text, not \['a', 'b'\]$"),
        ("sft", "bf16: perhaps", r"bf16 must be true or false, not 'perhaps'$"),
        ("sft", "learning_rate: true", r"learning_rate must be a number, not True$"),
        ("sft", "eval_steps: often", r"eval_steps must be a number, not 'often'$"),
        ("sft", "max_steps: true", r"max_steps must be a whole number, not True$"),
        ("rl", "learning_rate: .inf", r"learning_rate must be a number at least 0, not inf$"),
        ("rl", "gamma: 2", r"gamma must be a number from 0 to 1, not 2$"),
        ("sft", "seed: -1", r"seed must be a number at least 0, not -1$"),
        ("sft", "samples: 0", r"samples must be a number at least 1, not 0$"),
        ("sft", "lr_scheduler_type: cosin", r"no lr_scheduler_type 'cosin'\. Did .* 'cosine'"),
        ("rl", "save_strategy: epohc", r"no save_strategy 'epohc'\. Did you mean 'epoch'"),
        ("sft", "stride: [", r"sft\.yaml is no YAML: .*line 2, column 10"),
    ],
)
def test_a_value_of_no_use_is_named_in_one_sentence(tmp_path, stage, text, said):
    path = tmp_path / f"{stage}.yaml"
    path.write_text(f"output_dir: out\n{text}")
    with pytest.raises(ValueError, match=said):
        given_settings([str(path)], STAGES[stage])


def test_numbers_in_words_of_yaml_are_taken(tmp_path):
    path = tmp_path / "sft.yaml"
    path.write_text(
        "output_dir: out\ndata: 2020\nlearning_rate: 1e-3\nstride: '8'\nmax_steps: 1e2\n"
        "weight_decay: 0\nresume_from_checkpoint: true\nreport_to: [wandb]\nsamples: null\n"
    )
    assert given_settings([str(path)], SFTConfig) == {
        "output_dir": "out",
        "data": "2020",
        "learning_rate": 1e-3,
        "stride": 8,
        "max_steps": 100,
        "weight_decay": 0,
        "resume_from_checkpoint": True,
        "report_to": ["wandb"],
    }


def test_what_yaml_reads_as_false_is_what_was_meant(tmp_path):
    path = tmp_path / "sft.yaml"
    path.write_text("output_dir: out\nresume_from_checkpoint: false\nsave_strategy: no\n")
    given = given_settings([str(path)], SFTConfig)
    assert given == {
        "output_dir": "out",
        "resume_from_checkpoint": False,
        "save_strategy": "no",
    }


def test_settings_given_in_python_are_checked_as_well(tmp_path):
    with pytest.raises(ValueError, match=r"no setting 'stridee'\. Did you mean 'stride'"):
        checked_settings({"stridee": 1}, RLConfig)
    with pytest.raises(ValueError, match="stride must be a whole number, not 'ten'"):
        sft_config(tmp_path, stride="ten")
    assert sft_config(tmp_path, vision_folder=tmp_path).vision_folder == str(tmp_path)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")  # they were imported above
@pytest.mark.parametrize("stage", STAGES)
def test_modules_end_bad_input_in_one_line(tmp_path, monkeypatch, capsys, stage):
    (tmp_path / "bad.yaml").write_text("output_dir: out\nstride: ten")
    monkeypatch.setattr(sys, "argv", [stage, str(tmp_path / "bad.yaml")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"mmdrex.training.{stage}", run_name="__main__")
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1
    assert said.endswith("bad.yaml: stride must be a whole number, not 'ten'\n")


@pytest.mark.parametrize("stage", STAGES)
def test_modules_explain_their_options(monkeypatch, capsys, stage):
    with pytest.raises(SystemExit) as ended:
        given_settings(["--help"], STAGES[stage])
    assert ended.value.code == 0 and "--learning_rate" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        given_settings(["--lerning_rat", "3"], STAGES[stage])
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 2


def test_a_tracker_that_is_not_installed_is_told_at_the_start(tmp_path, monkeypatch):
    class Missing:
        def __init__(self):
            raise RuntimeError("Callback requires something. Run `pip install something`")

    monkeypatch.setattr(arguments, "get_reporting_integration_callbacks", lambda _: [Missing])
    for make in (sft_config, rl_config):
        with pytest.raises(ValueError, match=r"report_to: wandb can't be used .*report_to: none"):
            make(tmp_path, report_to="wandb")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"label_smoothing_factor": 0.1}, "no use for label_smoothing_factor"),
        ({"remove_unused_columns": True}, "no use for remove_unused_columns"),
        ({"metric_for_best_model": "los"}, "no metric_for_best_model 'los'.*Did you mean 'loss'"),
        ({"num_train_epochs": 0}, "num_train_epochs must be above 0"),
        ({"save_strategy": "epoch"}, "must be the same, not epoch and steps"),
    ],
)
def test_what_would_break_stage_1_is_refused_at_the_start(tmp_path, given, said):
    with pytest.raises(ValueError, match=said):
        sft_config(tmp_path, **given)


def test_stage_2_counts_updates_from_one(tmp_path):
    with pytest.raises(ValueError, match="max_steps must be at least 1, or -1 for all, not 0"):
        rl_config(tmp_path, max_steps=0)
