"""The commands of the command line for labels of stage 1: ``mmdrex label ...``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

if TYPE_CHECKING:
    import pandas as pd

# Options that several commands share
Prices = Annotated[str, Option(help="Folder of prices (CSV), one file, or simulated:COUNT.")]
Split = Annotated[str, Option(help="Split the windows lie in.")]
Stride = Annotated[int, Option(min=1, help="Bars between windows.")]
Some = Annotated[int | None, Option(min=1, help="So many windows at random.", show_default=False)]
Labels = Annotated[
    Path | None, Option(help="Reviewed labels, of mmdrex label import.", dir_okay=False)
]
Exported = Annotated[Path, Argument(help="labels.csv as exported.", show_default=False)]

label = typer.Typer(no_args_is_help=True)


@label.callback()
def labelling() -> None:
    """Labels of stage 1: out for review, back in, or by a language model."""


def _windows(
    assets: Mapping[str, pd.DataFrame],
    data: str,
    split: str,
    stride: int,
    samples: int | None,
    seed: int,
    labels: Path | None = None,
) -> pd.DataFrame:
    """Return the windows of a split, so many at random, and print how their labels are shared."""
    from mmdrex.data.splits import no_window_message
    from mmdrex.data.windows import WINDOW
    from mmdrex.training.labels import class_balance, labelled_windows
    from mmdrex.training.review import apply_review, matched_sentence, read_review

    windows = labelled_windows(assets, split, stride)
    if windows.empty:
        raise ValueError(no_window_message(WINDOW, split, data))
    if labels is not None:
        reviewed = read_review(labels, ["label"])
        told = f"{data} (split {split}, stride {stride})"
        print(matched_sentence(str(labels), reviewed, [windows], told))
        windows = apply_review(windows, reviewed)
    if samples is not None and samples < len(windows):
        windows = windows.sample(samples, random_state=seed).sort_index()
    print(class_balance(windows["label"]).to_string(float_format=lambda value: f"{value:.1%}"))
    return windows


def _say_licence(data: str) -> None:
    from mmdrex.training.assets import licensed
    from mmdrex.training.sft_data import LICENSED

    if licensed(data):
        print(f"mmdrex: {LICENSED}", file=sys.stderr)


def _require_another(out: Path, read: Sequence[Path]) -> None:
    """Refuse to write over a file of reviews that was read."""
    if out.resolve() in {path.resolve() for path in read}:
        raise ValueError(f"--out {out} would erase the reviews in it; name another file")


@label.command("export")
def label_export(
    data: Prices,
    out: Annotated[Path, Option(help="Folder of charts and labels.csv.")],
    split: Split = "fit",
    stride: Stride = 16,
    samples: Some = None,
    seed: Annotated[int, Option(help="Of which ones.")] = 42,
) -> None:
    """Write charts and labels for people to review."""
    from mmdrex.training.assets import training_assets
    from mmdrex.training.checkpoints import require_writable
    from mmdrex.training.review import export_review

    require_writable(out)
    assets = training_assets(data)
    windows = _windows(assets, data, split, stride, samples, seed)
    path = export_review(assets, windows, out, progress=True)
    _say_licence(data)
    print(f"{path}: fill the column review with up, down or flat where you disagree")


@label.command("import")
def label_import(
    original: Exported,
    reviews: Annotated[list[Path], Argument(help="Reviewed copies.", show_default=False)],
    out: Annotated[Path, Option(help="CSV of the labels after review.", dir_okay=False)],
) -> None:
    """Take reviewed labels back and list the conflicts."""
    from mmdrex.data.files import replacing
    from mmdrex.training.labels import COLUMNS
    from mmdrex.training.review import import_review, read_review

    _require_another(out, [original, *reviews])
    exported = read_review(original, COLUMNS)
    frames = {path.stem: read_review(path, ["review"]) for path in reviews}
    if len(frames) < len(reviews):
        raise ValueError("two reviews have the same file name; rename one after its reviewer")
    labels, conflicts = import_review(exported, frames)
    with replacing(out) as aside:
        labels.to_csv(aside, index=False)
    if len(conflicts):
        print(conflicts.to_string(index=False))
    changed = int((labels["label"] != labels["rule"]).sum())
    print(f"{out}: {len(labels)} labels, {len(conflicts)} with a conflict, {changed} changed")


@label.command("annotate")
def label_annotate(
    original: Exported,
    data: Annotated[str, Option(help="The prices it was exported from.")],
    llm: Annotated[str, Option(help="Language model: openai:MODEL, hf:FOLDER, ...")],
    out: Annotated[Path, Option(help="CSV for mmdrex label import.", dir_okay=False)],
    ledger: Annotated[Path, Option(help="Record of all calls; a second run asks nothing.")] = Path(
        "runs/annotations.sqlite"
    ),
    calls: Annotated[
        int | None, Option(min=1, help="Most calls allowed.", show_default=False)
    ] = None,
) -> None:
    """Ask a language model to review the labels as another reviewer."""
    from mmdrex.data.files import replacing
    from mmdrex.llm import LLM, Budget
    from mmdrex.training.annotator import annotate
    from mmdrex.training.assets import training_assets
    from mmdrex.training.labels import COLUMNS
    from mmdrex.training.review import read_review

    _require_another(out, [original])
    exported = read_review(original, COLUMNS)
    longer = {"max_tokens": 4_000} if llm.startswith("openai:") else {}
    model = LLM.open(llm, ledger=ledger, budget=Budget(calls=calls), **longer)
    reviewed = annotate(training_assets(data), exported, model, progress=True)
    with replacing(out) as aside:
        reviewed.to_csv(aside, index=False)
    print(f"{out}: {int((reviewed['review'] != '').sum())} of {len(reviewed)} windows labelled")


@label.command("samples")
def label_samples(
    data: Prices,
    out: Annotated[Path, Option(help="Folder of dataset/, samples.jsonl and charts/.")],
    split: Split = "fit",
    stride: Stride = 16,
    samples: Some = None,
    labels: Labels = None,
    model: Annotated[
        str, Option(help="Whose charts: tiny, qwen2.5-vl-3b, -7b, -32b or -72b.")
    ] = "qwen2.5-vl-7b",
    modalities: Annotated[
        str, Option(help="VTL; VL for a model that reads no series, or another part of VTL.")
    ] = "VTL",
    seed: Annotated[int, Option(help="Of which windows, and which of them are anonymous.")] = 42,
) -> None:
    """Write the chat samples of stage 1: a data set for TRL, JSONL for LLaMA-Factory."""
    from mmdrex.data.files import replacing
    from mmdrex.router.backbone import BACKBONES, TINY
    from mmdrex.router.processor import MMDREXProcessor
    from mmdrex.training.assets import training_assets
    from mmdrex.training.checkpoints import require_writable
    from mmdrex.training.rl_config import MODALITIES
    from mmdrex.training.sft_data import to_dataset, trend_samples, write_jsonl
    from strategies.rule import did_you_mean

    if model not in BACKBONES:
        raise ValueError(f"no model {model!r}.{did_you_mean(model, BACKBONES)}")
    if modalities not in MODALITIES:
        raise ValueError(f"modalities are one of {', '.join(MODALITIES)}, not {modalities!r}")
    require_writable(out)
    assets = training_assets(data)
    windows = _windows(assets, data, split, stride, samples, seed, labels)
    made = trend_samples(assets, windows, seed=seed)
    processor = MMDREXProcessor.from_pretrained(TINY, modalities=modalities)
    processor.global_size = BACKBONES[model].global_size
    processor.local_size = BACKBONES[model].local_size
    path = write_jsonl(made, processor, out, licensed=False)
    with replacing(out / "dataset") as aside:
        to_dataset(made, processor, licensed=False).save_to_disk(aside)
    _say_licence(data)
    print(f"{path}: {len(made)} samples for LLaMA-Factory (dataset_dir: {out}, dataset: mmdrex)")
    print(f"{out / 'dataset'}: the same for TRL, by datasets.load_from_disk")
