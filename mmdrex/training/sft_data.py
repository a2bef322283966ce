"""Chat samples of the supervised stage: charts, series, prompt and the JSON answer to learn.

The answer's first field is the trend, a token at the place where the router's heads read; what
follows is why: the current state, the days per state of the outcome, one line of indicators.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from mmdrex.data.files import replacing
from mmdrex.observation.observation import Observation, Observer
from mmdrex.router.processor import ANSWER, MMDREXProcessor
from mmdrex.router.vocabulary import LABELS, SERIES_TOKEN
from mmdrex.training.labels import FAST, PERIOD, SLOW, trend_states
from strategies import indicators

if TYPE_CHECKING:
    from datasets import Dataset

ANONYMOUS = 0.3  # share of prompts without symbol and price level, against memory of the asset
LICENSED = (
    "these charts and figures show prices whose licence may forbid passing them on; keep the "
    "data set to yourself"
)


# How LLaMA-Factory reads samples.jsonl: https://github.com/hiyouga/LLaMA-Factory, data/README.md
LLAMA_FACTORY = {
    "mmdrex": {
        "file_name": "samples.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
}


@dataclass(frozen=True)
class Sample:
    """One window: what the router sees and what it is to answer."""

    observation: Observation
    label: int  # index into LABELS
    answer: str  # the whole JSON, of one line
    until: pd.Timestamp  # last day the answer knows of


def answer(label: str, state: str, days: Iterable[int], why: str) -> str:
    """Return the compact JSON answer; the trend comes first.

    Examples
    --------
    >>> answer("up", "flat", (50, 10, 30), "ADX 12")
    '{"trend":"up","state":"flat","days":{"up":50,"down":10,"flat":30},"why":"ADX 12"}'
    """
    record = {
        "trend": label,
        "state": state,
        "days": dict(zip(LABELS, map(int, days), strict=True)),
        "why": why,
    }
    return json.dumps(record, separators=(",", ":"))


def reasons(bars: pd.DataFrame) -> list[str]:
    """Return one line of reasoning per bar, known after its close, from what the label's rule uses.

    Not warm rows say so in numbers (nan); no window is decided there.
    """
    high, low, close = (
        np.ascontiguousarray(bars[name], dtype=np.float64) for name in ("high", "low", "close")
    )
    gap = indicators.sma(close, FAST) / indicators.sma(close, SLOW) - 1.0
    adx, plus, minus = indicators.adx(high, low, close, PERIOD)
    rsi = indicators.rsi(close, PERIOD)
    return [
        f"MA{FAST} {abs(g):.1%} {'above' if g > 0.0 else 'below'} MA{SLOW}, ADX {a:.0f}, "
        f"+DI {p:.0f}, -DI {m:.0f}, RSI {r:.0f}"
        for g, a, p, m, r in zip(gap, adx, plus, minus, rsi, strict=True)
    ]


def trend_samples(
    assets: Mapping[str, pd.DataFrame],
    windows: pd.DataFrame,
    lookback: int = 100,
    anonymous: float = ANONYMOUS,
    seed: int = 42,
) -> list[Sample]:
    """Return a sample per labelled window, in their order.

    Parameters
    ----------
    assets : mapping of str to DataFrame
        Validated bars by symbol.
    windows : DataFrame of shape (N, 8)
        From ``mmdrex.training.labels.labelled_windows``, reviewed or not.
    lookback : int
    anonymous : float
        Share of the samples whose prompt is anonymous.
    seed : int
        Of which ones.
    """
    hidden = np.random.default_rng(seed).random(len(windows)) < anonymous
    samples: dict[int, Sample] = {}
    for symbol, group in windows.reset_index(drop=True).groupby("symbol", sort=False):
        bars = assets[str(symbol)]
        observers = [Observer(bars, str(symbol), lookback, anonymous=h) for h in (False, True)]
        states, why = trend_states(bars), reasons(bars)
        rows = group["row"].to_numpy(dtype=np.int64)
        days = group[[f"{name}_days" for name in LABELS]].to_numpy(dtype=np.int64)
        columns = (group.index, rows, days, group["label"], pd.DatetimeIndex(group["until"]))
        for place, row, counts, label, until in zip(*columns, strict=True):
            samples[int(place)] = Sample(
                observers[int(hidden[place])].at(int(row)),
                LABELS.index(label),
                answer(label, LABELS[states[row]], counts, why[row]),
                until,
            )
    return [samples[place] for place in range(len(windows))]


def to_dataset(
    samples: Sequence[Sample], processor: MMDREXProcessor, licensed: bool = True
) -> Dataset:
    """Return the samples as a ``datasets.Dataset`` with an ``Image`` column, as TRL reads it.

    Parameters
    ----------
    samples : sequence of Sample of length N
    processor : MMDREXProcessor
        Says how large the charts are and how many series tokens there are.
    licensed : bool
        Whether the prices' licence may forbid passing them on; warns then. Simulated markets and
        the packaged samples are free.

    Returns
    -------
    Dataset of N rows
        ``images`` (two), ``messages`` (user: two images, series tokens, prompt; assistant: the
        answer), ``series`` (lookback, 17), ``label``, ``symbol``, ``time``.

    Notes
    -----
    Only a router reads the series: for another model take a processor with the modalities VL,
    whose prompts hold no series tokens.
    """
    from datasets import ClassLabel, Dataset, Features, Image, List, Value

    if licensed:
        warnings.warn(LICENSED, stacklevel=2)
    part = {"type": Value("string"), "text": Value("string")}
    features = Features(
        {
            "images": List(Image()),
            "messages": List({"role": Value("string"), "content": List(part)}),
            "series": List(List(Value("float32"))),
            "label": ClassLabel(names=list(LABELS)),
            "symbol": Value("string"),
            "time": Value("timestamp[ns]"),
        }
    )

    columns: dict[str, list[Any]] = {
        "images": [[{"bytes": p, "path": None} for p in _pngs(one, processor)] for one in samples],
        "messages": [_messages(one, processor) for one in samples],
        "series": [one.observation.series for one in samples],
        "label": [one.label for one in samples],
        "symbol": [one.observation.symbol for one in samples],
        "time": [one.observation.time for one in samples],
    }
    return Dataset.from_dict(columns, features=features)


def write_jsonl(
    samples: Sequence[Sample],
    processor: MMDREXProcessor,
    folder: str | Path,
    licensed: bool = True,
) -> Path:
    """Write ``samples.jsonl`` and its charts below a folder and return the file's path.

    A line holds ``messages`` and ``images`` in the form of LLaMA-Factory (an ``<image>`` in the
    user's text per path), which finds them by the ``dataset_info.json`` beside; then ``series``,
    ``label``, ``symbol`` and ``time``. Paths are relative to the folder. TRL takes the marks for
    text: give it the data set of ``to_dataset``.

    Parameters
    ----------
    samples, processor, licensed
        See ``to_dataset``.
    folder : path
        Made if it does not exist.
    """
    if licensed:
        warnings.warn(LICENSED, stacklevel=2)
    out = Path(folder)
    (out / "charts").mkdir(parents=True, exist_ok=True)
    with replacing(out / "samples.jsonl") as aside, aside.open("w", encoding="utf-8") as file:
        for number, sample in enumerate(samples):
            charts = _pngs(sample, processor)
            names = [f"charts/{number:06d}-{view}.png" for view in ("global", "local")]
            for name, chart in zip(names, charts, strict=False):
                (out / name).write_bytes(chart)
            text = "<image>" * len(charts) + _text(sample, processor)
            record = {
                "messages": [
                    {"role": "user", "content": text},
                    {"role": "assistant", "content": sample.answer},
                ],
                "images": names[: len(charts)],
                # The shortest decimals that read back as the same float32.
                "series": sample.observation.series.astype(str).astype(float).tolist(),
                "label": LABELS[sample.label],
                "symbol": sample.observation.symbol,
                "time": sample.observation.time.isoformat(),
            }
            file.write(json.dumps(record, allow_nan=False) + "\n")
    (out / "dataset_info.json").write_text(json.dumps(LLAMA_FACTORY, indent=2) + "\n")
    return out / "samples.jsonl"


def _pngs(sample: Sample, processor: MMDREXProcessor) -> list[bytes]:
    """Return the charts as files: as pixels those of a whole split would not fit into memory."""
    if "V" not in processor.modalities:
        return []
    files = [io.BytesIO() for _ in ("global", "local")]
    for file, chart in zip(files, processor.charts(sample.observation), strict=True):
        Image.fromarray(chart).save(file, format="PNG")
    return [file.getvalue() for file in files]


def _text(sample: Sample, processor: MMDREXProcessor) -> str:
    bars = len(sample.observation.series)
    tokens = bars // processor.series_patch if "T" in processor.modalities else 0
    return SERIES_TOKEN * tokens + (sample.observation.text if "L" in processor.modalities else "")


def _messages(sample: Sample, processor: MMDREXProcessor) -> list[dict[str, Any]]:
    """Return the chat in parts; the assistant's text is the whole answer."""
    if not sample.answer.startswith(ANSWER):
        raise ValueError(f"an answer must start with {ANSWER!r}; got {sample.answer[:20]!r}")
    images = [{"type": "image", "text": None}] * (2 if "V" in processor.modalities else 0)
    return [
        {"role": "user", "content": [*images, {"type": "text", "text": _text(sample, processor)}]},
        {"role": "assistant", "content": [{"type": "text", "text": sample.answer}]},
    ]
