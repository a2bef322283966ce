"""The commands of the command line that train: ``mmdrex train ...`` and ``mmdrex label ...``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

train = typer.Typer(no_args_is_help=True)
label = typer.Typer(no_args_is_help=True)


@train.callback()
def training() -> None:
    """Train a router, stage by stage."""


@train.command()
def charts(
    data: Annotated[Path, Option(help="Folder of price files, subfolders included.")],
    out: Annotated[Path, Option(help="Folder to write.")] = Path("runs/charts"),
    evaluate: Annotated[
        bool, Option("--evaluate", help="Only examine --router and print the figures.")
    ] = False,
    router: Annotated[str, Option(help="What --evaluate examines.")] = "tiny",
    init: Annotated[
        str | None,
        Option(help="A tiny that reads charts, to go on from: only its language model learns."),
    ] = None,
    seed: Annotated[int, Option(help="Of weights, windows and order.")] = 42,
) -> None:
    """Stage 0: make [bold]tiny[/bold] from random weights and teach it to read charts.

    With --evaluate, linear heads are fitted to the stored weights and scored on validation windows
    of assets that were never trained on.
    """
    from mmdrex.training.assets import load_folder

    assets = load_folder(data)
    if evaluate:
        from mmdrex.router.router import Router
        from mmdrex.training.exam import GOALS, examine

        figures = examine(Router.from_pretrained(router, cache=False), assets, seed=seed)
        for name, figure in figures.items():
            goal = f"  (goal {GOALS[name]:.2f})" if name in GOALS else ""
            print(f"{name:>31}  {figure:.4f}{goal}")
        return
    from mmdrex.training.charts import train_charts

    train_charts(assets, out, seed=seed, init=init)
    print(f"{out / 'tiny'}: a tiny that reads charts; its adapters and heads are fresh")


@train.command()
def sft(
    out: Annotated[Path, Option(help="Folder of the trained router and its checkpoints.")],
    data: Annotated[
        str | None,
        Option(help="Folder of prices (CSV), or simulated:COUNT markets.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        Option(help="Where training starts: tiny (the default), a router's folder, a Qwen2.5-VL."),
    ] = None,
    config: Annotated[
        Path | None,
        Option(help="YAML of SFTConfig and TrainingArguments; options given here win."),
    ] = None,
    labels: Annotated[Path | None, Option(help="Reviewed labels, of mmdrex label import.")] = None,
    stride: Annotated[int | None, Option(min=1, help="Bars between windows; 16.")] = None,
    samples: Annotated[int | None, Option(min=1, help="So many windows at random; all.")] = None,
    epochs: Annotated[float | None, Option(help="Passes over the windows; 1.")] = None,
    learning_rate: Annotated[
        float | None, Option(help="The paper's 3e-5; for tiny its own.")
    ] = None,
    seed: Annotated[int | None, Option(help="Of order, dropout, samples, intervals; 42.")] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on from the last whole checkpoint of --out.")
    ] = False,
    evaluate: Annotated[
        bool, Option("--evaluate", help="Train nothing: score the router in --out.")
    ] = False,
    split: Annotated[str, Option(help="What --evaluate scores.")] = "validation",
) -> None:
    """Stage 1: teach the router the trend of the next 90 bars (supervised fine-tuning)."""
    if data is None and config is None:
        raise ValueError("--data is missing: a folder of prices, or simulated:40")
    from mmdrex.router.router import Router
    from mmdrex.training.arguments import yaml_settings
    from mmdrex.training.sft import evaluate_sft, train_sft, training_assets
    from mmdrex.training.sft_config import SFTConfig, sft_config

    given = {} if config is None else yaml_settings(config, SFTConfig)
    own: dict[str, str | float | None] = {"data": data, "model": model, "stride": stride}
    own |= {"samples": samples, "seed": seed, "num_train_epochs": epochs}
    own |= {"learning_rate": learning_rate, "labels": str(labels) if labels else None}
    own |= {"resume_from_checkpoint": "true" if resume else None}
    given |= {name: value for name, value in own.items() if value is not None}
    given.pop("output_dir", None)
    settings = sft_config(out, **given)
    if not settings.data:
        raise ValueError(f"{config} names no data: a folder of prices, or simulated:40")
    assets = training_assets(settings.data)
    if not evaluate:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
        router = Router.from_pretrained(settings.model, seed=settings.seed)
        trainer = train_sft(router, assets, settings)
        print(f"{out}: a router after {trainer.state.global_step} steps of stage 1")
        return
    result = evaluate_sft(Router.from_pretrained(str(out)), assets, settings, split)
    print(f"{result.windows} windows, split {result.split}, seed {result.seed}; 95 % intervals")
    print(result.table().to_string(float_format=lambda value: f"{value:.3f}"))
    for name, (low, high) in list(result.intervals.items())[3:]:
        print(f"balanced accuracy, {name}: {low:+.3f} .. {high:+.3f}")
    print("confusion of the router, rows by true label (up, down, flat):")
    print(result.scores["router"].confusion)


@train.command()
def rl(
    out: Annotated[Path, Option(help="Folder of the trained router and its checkpoints.")],
    data: Annotated[
        str | None,
        Option(help="Folder of prices (CSV), or simulated:COUNT markets.", show_default=False),
    ] = None,
    init: Annotated[
        str | None, Option(help="The router to start from, as SFT wrote it; tiny.")
    ] = None,
    config: Annotated[
        Path | None,
        Option(help="YAML of RLConfig and TrainingArguments; options given here win."),
    ] = None,
    costs: Annotated[str | None, Option(help="Costs that rewards are net of; paper.")] = None,
    updates: Annotated[int | None, Option(min=1, help="Updates at most; for tiny its own.")] = None,
    learning_rate: Annotated[
        float | None, Option(help="The paper's 3e-5; for tiny its own.")
    ] = None,
    modalities: Annotated[
        str | None, Option(help="VTL, TL or VL; those of the router started from.")
    ] = None,
    seed: Annotated[int | None, Option(help="Of order and draws; 42.")] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on from the last whole checkpoint of --out.")
    ] = False,
) -> None:
    """Stage 2: train router and experts by what their trades earned (reinforcement learning)."""
    if data is None and config is None:
        raise ValueError("--data is missing: a folder of prices, or simulated:40")
    from mmdrex.training.arguments import yaml_settings
    from mmdrex.training.rl import run
    from mmdrex.training.rl_config import RLConfig, rl_config

    given = {} if config is None else yaml_settings(config, RLConfig)
    own: dict[str, str | float | None] = {"data": data, "init": init, "costs": costs}
    own |= {"max_steps": updates, "learning_rate": learning_rate, "modalities": modalities}
    own |= {"seed": seed, "resume_from_checkpoint": "true" if resume else None}
    given |= {name: value for name, value in own.items() if value is not None}
    given.pop("output_dir", None)
    settings = rl_config(out, **given)
    if not settings.data:
        raise ValueError(f"{config} names no data: a folder of prices, or simulated:40")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    state = run(settings)
    print(
        f"{out}: the router after update {state.best_global_step} of {state.global_step}; reward "
        f"{state.best_metric:.4f} on {settings.select_split}, costs {settings.costs}, "
        f"seed {settings.seed}"
    )


@label.callback()
def labelling() -> None:
    """Labels of stage 1: out for review, back in, or by a language model."""


@label.command("export")
def label_export(
    data: Annotated[str, Option(help="Folder of prices (CSV), or simulated:COUNT markets.")],
    out: Annotated[Path, Option(help="Folder of charts and labels.csv.")],
    split: Annotated[str, Option(help="Split the windows lie in.")] = "fit",
    stride: Annotated[int, Option(min=1, help="Bars between windows.")] = 16,
    samples: Annotated[
        int | None, Option(min=1, help="So many windows at random.", show_default=False)
    ] = None,
    seed: Annotated[int, Option(help="Of which ones.")] = 42,
) -> None:
    """Write charts and labels for people to review."""
    from mmdrex.training.labels import class_balance, labelled_windows
    from mmdrex.training.review import export_review
    from mmdrex.training.sft import licensed, training_assets
    from mmdrex.training.sft_data import LICENSED

    assets = training_assets(data)
    windows = labelled_windows(assets, split, stride)
    if samples is not None and samples < len(windows):
        windows = windows.sample(samples, random_state=seed).sort_index()
    print(class_balance(windows["label"]).to_string(float_format=lambda value: f"{value:.1%}"))
    path = export_review(assets, windows, out, progress=True)
    if licensed(data):
        print(f"mmdrex: {LICENSED}", file=sys.stderr)
    print(f"{path}: fill the column review with up, down or flat where you disagree")


@label.command("import")
def label_import(
    original: Annotated[Path, Argument(help="labels.csv as exported.", show_default=False)],
    reviews: Annotated[list[Path], Argument(help="Reviewed copies.", show_default=False)],
    out: Annotated[Path, Option(help="CSV of the labels after review.")],
) -> None:
    """Take reviewed labels back and list the conflicts."""
    from mmdrex.data.files import replacing
    from mmdrex.training.review import import_review, read_review

    frames = {path.stem: read_review(path) for path in reviews}
    if len(frames) < len(reviews):
        raise ValueError("two reviews have the same file name; rename one after its reviewer")
    labels, conflicts = import_review(read_review(original), frames)
    with replacing(out) as aside:
        labels.to_csv(aside, index=False)
    if len(conflicts):
        print(conflicts.to_string(index=False))
    changed = int((labels["label"] != labels["rule"]).sum())
    print(f"{out}: {len(labels)} labels, {len(conflicts)} with a conflict, {changed} changed")


@label.command("annotate")
def label_annotate(
    original: Annotated[Path, Argument(help="labels.csv as exported.", show_default=False)],
    data: Annotated[str, Option(help="The prices it was exported from.")],
    llm: Annotated[str, Option(help="Language model: openai:MODEL, hf:FOLDER, ...")],
    out: Annotated[Path, Option(help="CSV for mmdrex label import.")],
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
    from mmdrex.training.review import read_review
    from mmdrex.training.sft import training_assets

    longer = {"max_tokens": 4_000} if llm.startswith("openai:") else {}
    model = LLM.open(llm, ledger=ledger, budget=Budget(calls=calls), **longer)
    reviewed = annotate(training_assets(data), read_review(original), model, progress=True)
    with replacing(out) as aside:
        reviewed.to_csv(aside, index=False)
    print(f"{out}: {int((reviewed['review'] != '').sum())} of {len(reviewed)} windows labelled")
