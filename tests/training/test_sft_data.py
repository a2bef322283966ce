import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Image as ImageFeature

from mmdrex.router.processor import ANSWER
from mmdrex.router.router import Router
from mmdrex.router.vocabulary import LABELS
from mmdrex.training.answers import IGNORED, Answers, Collator, label_ids
from mmdrex.training.labels import labelled_windows
from mmdrex.training.seeing import drawing, see
from mmdrex.training.sft_data import Sample, reasons, to_dataset, trend_samples, write_jsonl


@pytest.fixture(scope="module")
def router(micro_router: Callable[[], Router]) -> Router:
    return micro_router()


@pytest.fixture(scope="module")
def samples(markets: dict[str, pd.DataFrame]) -> list[Sample]:
    return trend_samples(markets, labelled_windows(markets, "select", stride=30))


def test_answer_is_json_that_starts_with_the_trend(samples: list[Sample]) -> None:
    for sample in samples:
        assert sample.answer.startswith(f"{ANSWER}{LABELS[sample.label]}")
        record = json.loads(sample.answer)
        assert list(record) == ["trend", "state", "days", "why"]
        assert sum(record["days"].values()) == 90 and "\n" not in sample.answer


def test_answer_agrees_with_the_window_it_is_made_from(markets: dict[str, pd.DataFrame]) -> None:
    windows = labelled_windows(markets, "fit", stride=100)
    for sample, row in zip(trend_samples(markets, windows), windows.itertuples(), strict=True):
        record = json.loads(sample.answer)
        assert record["trend"] == row.label and record["days"]["up"] == row.up_days
        assert sample.observation.symbol == row.symbol and sample.observation.time == row.time


def test_reasoning_knows_nothing_later(markets: dict[str, pd.DataFrame]) -> None:
    bars = markets["SIM1"]
    assert reasons(bars.iloc[:400]) == reasons(bars)[:400]


def test_a_share_of_prompts_is_anonymous(markets: dict[str, pd.DataFrame]) -> None:
    windows = labelled_windows(markets, "fit", stride=16)
    hidden = ["an asset" in one.observation.text for one in trend_samples(markets, windows)]
    assert 0.15 < np.mean(hidden) < 0.45
    assert all(
        "an asset" in one.observation.text
        for one in trend_samples(markets, windows[:5], anonymous=1.0)
    )


def test_dataset_has_images_messages_and_labels(router: Router, samples: list[Sample]) -> None:
    table = to_dataset(samples[:3], router.processor, licensed=False)
    assert isinstance(table.features["images"].feature, ImageFeature)
    row = table[1]
    assert [image.size for image in row["images"]] == [(56, 56), (56, 28)]
    user, assistant = row["messages"]
    assert [part["type"] for part in user["content"]] == ["image", "image", "text"]
    assert user["content"][2]["text"].startswith("<|series_pad|>" * 10 + "You are")
    assert assistant["content"][0]["text"] == samples[1].answer
    assert table.features["label"].names == list(LABELS) and row["label"] == samples[1].label
    np.testing.assert_array_equal(row["series"], samples[1].observation.series)


def test_licensed_prices_warn_and_free_ones_do_not(
    router: Router, samples: list[Sample], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    to_dataset(samples[:1], router.processor, licensed=False)
    assert not [one for one in recwarn if "licence" in str(one.message)]
    with pytest.warns(UserWarning, match="licence"):
        to_dataset(samples[:1], router.processor)
    with pytest.warns(UserWarning, match="licence"):
        write_jsonl(samples[:1], router.processor, tmp_path)


def test_jsonl_names_an_existing_chart_per_image_mark(
    router: Router, samples: list[Sample], tmp_path: Path
) -> None:
    path = write_jsonl(samples[:3], router.processor, tmp_path, licensed=False)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record, sample in zip(records, samples, strict=False):
        user, assistant = record["messages"]
        assert user["content"].count("<image>") == len(record["images"]) == 2
        assert all((tmp_path / name).is_file() for name in record["images"])
        assert assistant == {"role": "assistant", "content": sample.answer}
        series = np.array(record["series"], dtype=np.float32)
        np.testing.assert_array_equal(series, sample.observation.series)


def test_llama_factory_finds_messages_and_images(
    router: Router, samples: list[Sample], tmp_path: Path
) -> None:
    # Its data/README.md: "sharegpt" with the columns and tags of the openai format; a path is
    # looked up below dataset_dir, and each <image> in the text takes one.
    path = write_jsonl(samples[:2], router.processor, tmp_path, licensed=False)
    info = json.loads((tmp_path / "dataset_info.json").read_text())["mmdrex"]
    assert tmp_path / info["file_name"] == path and info["formatting"] == "sharegpt"
    columns, tags = info["columns"], info["tags"]
    for line in path.read_text().splitlines():
        record = json.loads(line)
        roles = [turn[tags["role_tag"]] for turn in record[columns["messages"]]]
        assert roles == [tags["user_tag"], tags["assistant_tag"]]
        texts = [turn[tags["content_tag"]] for turn in record[columns["messages"]]]
        assert "".join(texts).count("<image>") == len(record[columns["images"]])
        assert all((tmp_path / name).is_file() for name in record[columns["images"]])


def test_trl_finds_a_place_per_image(router: Router, samples: list[Sample]) -> None:
    # trl.data_utils.prepare_multimodal_messages: as many parts of type image, without an image of
    # their own, as there are images.
    for row in to_dataset(samples[:2], router.processor, licensed=False):
        parts = [part for turn in row["messages"] for part in turn["content"]]
        places = [part for part in parts if part["type"] == "image" and "image" not in part]
        assert len(places) == len(row["images"]) == 2


def test_prompt_tokens_are_those_of_inference_and_only_the_answer_is_learned(
    router: Router, samples: list[Sample]
) -> None:
    answers = Answers(router, samples[:4], None)
    batch = Collator(0)([answers[i] for i in range(4)])
    tokenizer = router.processor.tokenizer
    labels = label_ids(tokenizer)
    for i, sample in enumerate(samples[:4]):
        prompt = router.processor([sample.observation])[0].ids
        last = int(batch["last"][i])
        assert torch.equal(batch["ids"][i, : last + 1], prompt)
        assert int(batch["targets"][i, last + 1]) == labels[sample.label]
        learned = batch["targets"][i][batch["targets"][i] != IGNORED]
        told = ANSWER + tokenizer.decode(learned)
        assert told == sample.answer + tokenizer.eos_token
        assert (batch["targets"][i, : last + 1] == IGNORED).all()


def test_a_tokenizer_that_cuts_a_label_is_refused(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmdrex.training.answers.LABELS", ("up", "down", "sideways-ish"))
    with pytest.raises(ValueError, match="sideways-ish"):
        label_ids(router.processor.tokenizer)


def test_charts_drawn_otherwise_are_seen_again(
    router: Router, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observations = [one.observation for one in samples[:2]]
    see(router, observations, tmp_path)
    monkeypatch.setattr("mmdrex.observation.chart.UP", (0, 0, 255))
    drawing.cache_clear()
    see(router, observations, tmp_path)
    drawing.cache_clear()
    assert len(list((tmp_path / "charts").glob("*.bin"))) == 2


def test_an_interrupted_look_at_the_charts_goes_on(
    router: Router, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observations = [one.observation for one in samples]
    whole = see(router, observations, tmp_path / "a")
    assert whole is not None and len(observations) > 16
    monkeypatch.setattr("mmdrex.training.seeing.BLOCK", 1)
    calls, vision = [], router.vision

    def stops(batch: list) -> list:
        calls.append(len(batch))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return vision(batch)

    monkeypatch.setattr(router, "vision", stops)
    with pytest.raises(KeyboardInterrupt):
        see(router, observations, tmp_path / "b")
    resumed = see(router, observations, tmp_path / "b")
    rows = range(len(observations))
    assert all(torch.equal(resumed[row], whole[row]) for row in rows)
    assert sum(calls) == len(observations) + calls[1]  # the first block was not seen again
