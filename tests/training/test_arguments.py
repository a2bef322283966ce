"""Settings of both stages: what a user may give, and what is said of all else."""

import runpy
import sys

import pytest

from mmdrex.training.arguments import checked_settings, given_settings
from mmdrex.training.rl_config import RLConfig
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
