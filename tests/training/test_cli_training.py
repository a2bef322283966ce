"""``mmdrex train`` and ``mmdrex label``: what they refuse at the start, and in which words."""

import json
from pathlib import Path

import pandas as pd
import pytest
from datasets import load_from_disk

from mmdrex.data.simulated import simulated_bars
from mmdrex.router.router import Router
from mmdrex.training import sft
from mmdrex.training.assets import training_assets
from mmdrex.training.labels import labelled_windows
from mmdrex.training.review import export_review, read_review


@pytest.fixture
def call(call, monkeypatch, tmp_path):
    """Return a caller of the command line in an empty folder, which trains and asks nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMDREX_CACHE", str(tmp_path / "cache"))
    return call


@pytest.fixture
def silent(monkeypatch):
    """Fail where a router would be loaded or anything trained."""

    def loaded(*_, **__):
        raise AssertionError("a router was loaded")

    monkeypatch.setattr(Router, "from_pretrained", loaded)


def refused(result, *words):
    """Assert that a command ended with one line that holds all the words."""
    code, _, err = result
    assert code == 2 and err.count("\n") == 1, err
    assert all(word in err for word in words), err


@pytest.fixture
def exported(tmp_path, markets):
    """Return the labels.csv of a few windows of SIM5000, which simulated:1 is."""
    assets = training_assets("simulated:1")
    return export_review(assets, labelled_windows(assets, "select", stride=80), tmp_path / "rev")


# -- train --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "option"), [("sft", "--model"), ("rl", "--init")])
@pytest.mark.parametrize("name", ["runs/nope", "./nope", "/nowhere/nope"])
def test_a_folder_that_is_not_there_is_told_before_any_network(call, silent, stage, option, name):
    for router in ("sft", "rl"):
        Path("runs", router).mkdir(parents=True)
        Path("runs", router, "config.json").write_text("{}")
    result = call("train", stage, "--data", "simulated:1", "--out", "out", option, name)
    refused(result, f"no folder {name}")
    assert ("there are runs/rl, runs/sft" in result[2]) == name.startswith("runs")


def test_a_hub_id_goes_through(call, monkeypatch):
    def loaded(name, **_):
        raise ValueError(f"asked the hub for {name}")

    monkeypatch.setattr(Router, "from_pretrained", loaded)
    for stage, option in (("sft", "--model"), ("rl", "--init")):
        data = ("--data", "simulated:1", "--out", "out")
        refused(call("train", stage, *data, option, "org/name"), "asked the hub for org/name")


def test_evaluation_of_a_router_that_is_not_there(call, silent):
    Path("runs").mkdir()
    data = ("--data", "simulated:1", "--out", "runs/nope")
    refused(call("train", "sft", *data, "--evaluate"), "no folder runs/nope")


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_resuming_without_a_checkpoint_is_refused(call, silent, stage):
    data = ("--data", "simulated:1", "--out", "out")
    refused(call("train", stage, *data, "--resume"), "--resume: no whole checkpoint in out")
    Path("out/checkpoint-4").mkdir(parents=True)  # a kill while it was written
    refused(call("train", stage, *data, "--resume"), "leave it out to start a new run")
    Path("one.yaml").write_text("resume_from_checkpoint: out/checkpoint-7\n")
    refused(call("train", stage, *data, "--config", "one.yaml"), "out/checkpoint-7")


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_a_run_beside_an_earlier_one_is_refused_before_a_router_is_loaded(call, silent, stage):
    Path("out/checkpoint-4").mkdir(parents=True)
    Path("out/checkpoint-4/trainer_state.json").write_text("{}")
    result = call("train", stage, "--data", "simulated:1", "--out", "out")
    refused(result, "is of an earlier run; go on from there with --resume")


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_a_folder_that_can_not_be_written_is_told_at_the_start(call, silent, monkeypatch, stage):
    Path("file").write_text("")
    for out in ("file", "file/out"):
        result = call("train", stage, "--data", "simulated:1", "--out", out)
        refused(result, f"--out {out} can't be written (a file is in the way)")

    def read_only(*_, **__):  # as root nothing is read-only
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", read_only)
    result = call("train", stage, "--data", "simulated:1", "--out", "out")
    refused(result, "--out out can't be written (Permission denied)")


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_options_win_over_the_file_and_the_file_over_defaults(call, monkeypatch, stage):
    Path("one.yaml").write_text("data: prices\nseed: 7\nweight_decay: 0.5\noutput_dir: elsewhere\n")
    kept = []
    make = getattr(__import__(f"mmdrex.training.{stage}_config", fromlist=["x"]), f"{stage}_config")

    def made(out, **given):
        kept.append(make(out, **given))
        raise ValueError("enough")

    monkeypatch.setattr(f"mmdrex.training.{stage}_config.{stage}_config", made)
    refused(call("train", stage, "--out", "out", "--config", "one.yaml", "--seed", "8"), "enough")
    (settings,) = kept
    assert (settings.data, settings.seed, settings.weight_decay) == ("prices", 8, 0.5)
    assert settings.output_dir == "out"


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_missing_data_is_told(call, stage):
    Path("one.yaml").write_text("seed: 7\n")
    refused(call("train", stage, "--out", "out"), "--data is missing: a folder of prices")
    result = call("train", stage, "--out", "out", "--config", "one.yaml")
    refused(result, "--data is missing and one.yaml names no data")


@pytest.mark.parametrize("command", [("train", "rl"), ("train", "sft"), ("label", "export")])
def test_misspelt_data_is_told_with_the_right_name(call, command):
    result = call(*command, "--data", "simulatd:3", "--out", "out")
    refused(result, "no folder or file simulatd:3", "Did you mean 'simulated:3'?")


# -- labels in training -------------------------------------------------------------------------


def train_with(call, monkeypatch, labels, *more):
    def trained(*_, **__):
        raise ValueError("trained")

    monkeypatch.setattr(sft, "train_sft", trained)
    return call(
        *("train", "sft", "--data", "simulated:1", "--out", "out", "--stride", "80"),
        *("--labels", labels, *more),
    )


def test_labels_that_belong_to_windows_are_counted(call, monkeypatch, exported):
    result = train_with(call, monkeypatch, exported)
    refused(result, "trained")
    count = len(read_review(exported))
    assert f"{count} of {count} labels belong to windows of simulated:1" in result[1]


def test_labels_of_which_none_belongs_to_a_window_are_refused(call, monkeypatch, exported):
    pd.read_csv(exported).assign(symbol="AAPL").to_csv(exported, index=False)
    result = train_with(call, monkeypatch, exported)
    refused(result, "labels belongs to a window of simulated:1", "fit and select, stride 80")


def test_labels_that_can_not_be_read_are_told_before_a_router_is_loaded(
    call, monkeypatch, silent, exported
):
    pd.read_csv(exported).drop(columns="label").to_csv(exported, index=False)
    refused(train_with(call, monkeypatch, exported), "no column 'label' in", "labels.csv")


# -- label --------------------------------------------------------------------------------------


def test_a_second_export_does_not_erase_reviews(call):
    export = ("label", "export", "--data", "simulated:1", "--out", "rev", "--stride", "200")
    assert call(*export)[0] == 0
    table = pd.read_csv("rev/labels.csv").astype({"review": object})
    table.loc[0, "review"] = "up"
    table.to_csv("rev/labels.csv", index=False)
    code, _, err = call(*export)
    assert code == 2 and err.splitlines()[-1].startswith("mmdrex: rev/labels.csv holds 1 filled")
    assert pd.read_csv("rev/labels.csv")["review"][0] == "up"


@pytest.mark.parametrize("command", ["export", "samples"])
def test_a_split_without_a_window_is_refused(call, command):
    bars = simulated_bars(1, bars=400, start="2010-01-04")[0]
    bars.to_csv("OLD.csv", index_label="date")
    result = call("label", command, "--data", "OLD.csv", "--out", "rev", "--split", "select")
    refused(result, "no window of 90 bars lies in the split 'select' of OLD.csv")
    assert not Path("rev").exists()


def test_import_names_the_file_that_is_not_whole(call, exported):
    table = pd.read_csv(exported)
    table.drop(columns=["label"]).to_csv("nolabel.csv", index=False)
    table.drop(columns=["review"]).to_csv("noreview.csv", index=False)
    pd.concat([table, table[:1]]).to_csv("twice.csv", index=False)
    result = call("label", "import", "nolabel.csv", exported, "--out", "out.csv")
    refused(result, "no column 'label' in nolabel.csv")
    result = call("label", "import", exported, "noreview.csv", "--out", "out.csv")
    refused(result, "no column 'review' in noreview.csv")
    result = call("label", "import", "twice.csv", exported, "--out", "out.csv")
    refused(result, "twice.csv holds SIM5000 of", "twice; leave one row")
    assert not Path("out.csv").exists()


def test_reviews_and_folders_are_not_written_over(call, exported):
    before = exported.read_bytes()
    for command in (("import", exported, exported), ("annotate", exported, "--data", "x")):
        more = ("--llm", "openai:x") if command[0] == "annotate" else ()
        result = call("label", *command, *more, "--out", exported)
        refused(result, "would erase the reviews in it")
        code, _, err = call("label", *command, *more, "--out", exported.parent)
        assert code == 2 and "is a directory" in err
    assert exported.read_bytes() == before and (exported.parent / "charts").is_dir()


def test_labels_of_other_prices_are_not_annotated(call, exported, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    pd.read_csv(exported).assign(symbol="AAPL").to_csv(exported, index=False)
    annotate = ("label", "annotate", exported, "--llm", "openai:x", "--out", "out.csv")
    refused(call(*annotate, "--data", "simulated:1"), "no window of AAPL at", "in these prices")


def test_samples_are_written_for_both_libraries(call):
    write = ("label", "samples", "--data", "simulated:2", "--out", "out", "--samples", "3")
    code, out, err = call(*write, "--stride", "100")
    assert code == 0 and "licence" not in err and "3 samples for LLaMA-Factory" in out
    lines = [json.loads(line) for line in Path("out/samples.jsonl").read_text().splitlines()]
    rows = load_from_disk("out/dataset")
    assert len(lines) == len(rows) == 3
    for line, row in zip(lines, rows, strict=True):
        assert [image.size for image in row["images"]] == [(560, 448), (336, 448)]
        assert line["messages"][1]["content"] == row["messages"][1]["content"][0]["text"]
        assert line["label"] == ("up", "down", "flat")[row["label"]]
        assert line["messages"][0]["content"].startswith("<image><image><|series_pad|>")
    assert json.loads(Path("out/dataset_info.json").read_text())


def test_samples_of_a_model_that_reads_no_series_hold_no_series_tokens(call):
    write = ("label", "samples", "--data", "simulated:1", "--out", "out", "--samples", "1")
    assert call(*write, "--model", "tiny", "--modalities", "VL")[0] == 0
    line = json.loads(Path("out/samples.jsonl").read_text())
    assert line["messages"][0]["content"].startswith("<image><image>You are")
    refused(call(*write, "--model", "tinny"), "no model 'tinny'. Did you mean 'tiny'?")
    refused(call(*write, "--modalities", "VTX"), "modalities are one of VTL")


def test_samples_of_licensed_prices_say_so(call):
    simulated_bars(1, start="2016-01-04")[0].to_csv("AAA.csv", index_label="date")
    write = ("label", "samples", "--data", "AAA.csv", "--out", "out", "--samples", "1")
    code, _, err = call(*write)
    assert code == 0 and "licence may forbid" in err


def test_reviewed_labels_are_those_of_the_samples(call, exported):
    table = pd.read_csv(exported).assign(label="down")
    table.to_csv("labels.csv", index=False)
    write = ("label", "samples", "--data", "simulated:1", "--out", "out", "--split", "select")
    code, out, _ = call(*write, "--stride", "80", "--labels", "labels.csv")
    assert code == 0 and f"{len(table)} of {len(table)} labels belong" in out
    lines = [json.loads(line) for line in Path("out/samples.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == ["down"] * len(table)
