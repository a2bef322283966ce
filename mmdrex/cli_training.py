"""The commands of the command line that train: ``mmdrex train ...``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from typer import Option

from mmdrex.cli_labels import Labels

if TYPE_CHECKING:
    from mmdrex.training.rl_config import RLConfig
    from mmdrex.training.sft_config import SFTConfig

# Options that both stages share
Prices = Annotated[
    str | None,
    Option(help="Folder of prices (CSV), one file, or simulated:COUNT.", show_default=False),
]
Resume = Annotated[bool, Option("--resume", help="Go on from the last whole checkpoint of --out.")]

Options = dict[str, str | float | None]
Settings = TypeVar("Settings", "SFTConfig", "RLConfig")

train = typer.Typer(no_args_is_help=True)


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
    from mmdrex.router.storage import require_there
    from mmdrex.training.assets import load_folder

    for name in (router, init or "tiny"):
        require_there(name)
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
    from mmdrex.training.checkpoints import require_writable

    require_writable(out)
    train_charts(assets, out, seed=seed, init=init)
    print(f"{out / 'tiny'}: a tiny that reads charts; its adapters and heads are fresh")


@train.command()
def sft(
    out: Annotated[Path, Option(help="Folder of the trained router and its checkpoints.")],
    data: Prices = None,
    model: Annotated[
        str | None,
        Option(help="Where training starts: tiny (the default), a router's folder, a Qwen2.5-VL."),
    ] = None,
    config: Annotated[
        Path | None,
        Option(help="YAML of SFTConfig and TrainingArguments; options given here win."),
    ] = None,
    labels: Labels = None,
    stride: Annotated[int | None, Option(min=1, help="Bars between windows; 16.")] = None,
    samples: Annotated[
        int | None, Option(min=1, help="So many windows at random; all, for tiny 6000.")
    ] = None,
    epochs: Annotated[float | None, Option(help="Passes over the windows; 1.")] = None,
    learning_rate: Annotated[
        float | None, Option(help="The paper's 3e-5; for tiny its own.")
    ] = None,
    seed: Annotated[int | None, Option(help="Of order, dropout, samples, intervals; 42.")] = None,
    resume: Resume = False,
    evaluate: Annotated[
        bool, Option("--evaluate", help="Train nothing: score the router in --out.")
    ] = False,
    split: Annotated[str, Option(help="What --evaluate scores.")] = "validation",
) -> None:
    """Stage 1: teach the router the trend of the next 90 bars (supervised fine-tuning)."""
    from mmdrex.router.storage import require_there
    from mmdrex.training.sft_config import SFTConfig, sft_config

    own: Options = {"data": data, "model": model, "stride": stride, "samples": samples}
    own |= {"num_train_epochs": epochs, "learning_rate": learning_rate, "seed": seed}
    own |= {"labels": None if labels is None else str(labels)}
    settings = _settings(sft_config, SFTConfig, out, config, resume, own)
    start = str(out) if evaluate else settings.model
    require_there(start)
    from mmdrex.training.checkpoints import require_checkpoint, require_writable

    if not evaluate:
        require_checkpoint(out, settings.resume_from_checkpoint)
        require_writable(out)
    from mmdrex.audit.openings import OPENINGS, log_opening
    from mmdrex.router.router import Router
    from mmdrex.training.assets import training_assets
    from mmdrex.training.review import read_review
    from mmdrex.training.sft import evaluate_sft, say_matched, train_sft

    reviewed = None if settings.labels is None else read_review(settings.labels, ["label"])
    assets = training_assets(settings.data)
    router = Router.from_pretrained(start, seed=settings.seed)
    if reviewed is not None:
        splits = (settings.fit_split, split if evaluate else settings.select_split)
        print(say_matched(settings, reviewed, assets, router.config.lookback, splits))
    if not evaluate:
        _log_sentences()
        trainer = train_sft(router, assets, settings)
        print(f"{out}: a router after {trainer.state.global_step} steps of stage 1")
        return
    result = evaluate_sft(router, assets, settings, split)
    if split == "test":
        times = log_opening(out, router.model)
        print(f"openings of the test split so far: {times}, listed in {out / OPENINGS}")
    print(f"{result.windows} windows, split {result.split}, seed {result.seed}; 95 % intervals")
    print(result.table().to_string(float_format=lambda value: f"{value:.3f}"))
    for name, (low, high) in list(result.intervals.items())[3:]:
        print(f"balanced accuracy, {name}: {low:+.3f} .. {high:+.3f}")
    print("confusion of the router, rows by true label (up, down, flat):")
    print(result.scores["router"].confusion)


@train.command()
def rl(
    out: Annotated[Path, Option(help="Folder of the trained router and its checkpoints.")],
    data: Prices = None,
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
        str | None, Option(help="VTL or a part of it; those of the router started from.")
    ] = None,
    seed: Annotated[int | None, Option(help="Of order and draws; 42.")] = None,
    resume: Resume = False,
) -> None:
    """Stage 2: train router and experts by what their trades earned (reinforcement learning)."""
    from mmdrex.router.storage import require_there
    from mmdrex.training.rl_config import RLConfig, rl_config

    own: Options = {"data": data, "init": init, "costs": costs, "max_steps": updates, "seed": seed}
    own |= {"learning_rate": learning_rate, "modalities": modalities}
    settings = _settings(rl_config, RLConfig, out, config, resume, own)
    require_there(settings.init)
    from mmdrex.training.rl import run

    _log_sentences()
    state = run(settings)
    print(
        f"{out}: the router after update {state.best_global_step} of {state.global_step}; reward "
        f"{state.best_metric:.4f} on {settings.select_split}, costs {settings.costs}, "
        f"seed {settings.seed}"
    )


def _settings(
    make: Callable[..., Settings],
    kind: type[Settings],
    out: Path,
    config: Path | None,
    resume: bool,
    own: Options,
) -> Settings:
    """Return the settings of a YAML file and those of the options, which win."""
    from mmdrex.training.arguments import yaml_settings

    given = {} if config is None else yaml_settings(config, kind)
    given |= {name: value for name, value in own.items() if value is not None}
    if not str(out).strip() or str(out) == ".":
        raise ValueError("--out must name a folder of the run's own, such as runs/sft")
    if not given.get("data"):
        where = "" if config is None else f" and {config} names no data"
        raise ValueError(f"--data is missing{where}: a folder of prices, or simulated:40")
    if resume:
        given["resume_from_checkpoint"] = "true"
    given.pop("output_dir", None)
    return make(out, **given)


def _log_sentences() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
