"""What the main job leaves in its folder, each file whole, the folder renamed when all is there."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from mmdrex.audit.figures import save_figure, weights_figure
from mmdrex.audit.records import write_equity, write_orders
from mmdrex.data.files import replacing
from mmdrex.engines.backtest import BENCHMARK, Backtest, Producer, backtest, decide
from mmdrex.engines.planning import DecidesWindows, Plan, load_router
from mmdrex.engines.trading import Frames, Settings
from mmdrex.evaluation.metrics import equity_returns
from mmdrex.evaluation.tearsheet import tearsheet
from mmdrex.observation.chart import View
from mmdrex.observation.observation import Observation, Observer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "run.json"  # marks a folder as a backtest's
VIEWS: tuple[View, ...] = ("global", "local")


@contextmanager
def run_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``out`` that takes its place when the block ends well.

    On an error the folder is removed; on an interrupt it stays with what was finished.

    Raises
    ------
    ValueError
        If ``out`` holds something that no backtest wrote.
    """
    out = out.resolve()
    aside = out.with_name(f"{out.name}.partial")
    if out == Path.cwd():
        raise ValueError(f"{out} is the current folder; choose one inside it")
    for folder in (out, aside):
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file; choose a folder")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
            raise ValueError(f"{folder} holds files that no backtest wrote; choose another folder")
    made = [folder for folder in aside.parents if not folder.exists()]
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir(parents=True)
    (aside / RECORD).write_text(json.dumps({"finished": False}) + "\n", encoding="utf-8")
    try:
        with _no_interrupt_lost():
            yield aside
    except Exception:
        shutil.rmtree(aside)
        for folder in made:
            with suppress(OSError):  # somebody else may have put something there meanwhile
                folder.rmdir()
        raise
    if out.exists():
        former = out.with_name(f".{out.name}.{uuid4().hex[:12]}")
        out.rename(former)
        aside.rename(out)
        shutil.rmtree(former)
    else:
        aside.rename(out)


@contextmanager
def _no_interrupt_lost() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end of the block if a library swallowed one on the way."""
    former = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(former):
        yield
        return
    heard = threading.Event()

    def hear(number: int, frame: FrameType | None) -> None:
        heard.set()
        former(number, frame)

    signal.signal(signal.SIGINT, hear)
    try:
        yield
        if heard.is_set():
            raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, former)


def main_job(
    bars: Frames,
    folder: Path,
    router: str | DecidesWindows,
    settings: Settings,
    producer: Producer | None = None,
    name: str = "MM-DREX",
    skipped: Mapping[str, str] | None = None,
    audit: bool = False,
    progress: bool = False,
) -> Backtest:
    """Return the backtest of a portfolio and leave its files in ``folder``.

    Parameters
    ----------
    bars : mapping of str to DataFrame
        Long enough for ``settings``.
    folder : Path
        An existing, empty folder.
    router : str or router
        Not asked where there is a ``producer``.
    settings : Settings
    producer : callable, optional
        From bars to targets (T,).
    name : str
        Of the traded row.
    skipped : mapping of str to str, optional
        What was left out, and why; recorded.
    audit : bool
        Also keep the prompt and the series behind each decision.
    progress : bool
    """
    plans: dict[str, Plan] = {}
    if producer is None:
        model = load_router(router)
        plans = decide(bars, model, settings, progress)
        write_stamped_decisions(folder / "decisions.jsonl", plans)
        write_observations(folder, plans, model, settings, audit, progress)
    result = backtest(bars, producer or plans, settings, name)
    write_equity(folder / "equity.csv", result.equity)
    if len(bars) > 1:
        write_equity(folder / "sleeves.csv", result.sleeves)
    write_orders(folder / "orders.csv", result.orders)
    with replacing(folder / "table.csv") as aside:
        tables = {"zero": result.zero, "net": result.net}
        said = {costs: table.assign(**_attributes(table)) for costs, table in tables.items()}
        pd.concat(said, names=["costs", "strategy"]).to_csv(aside)
    save_figure(folder / "equity.png", figure(result, settings))
    write_tearsheet(folder / "tearsheet.html", result, settings)
    write_record(folder / RECORD, result, settings, router if producer is None else None, skipped)
    return result


def _attributes(table: pd.DataFrame) -> dict[str, float]:
    return {str(name): value for name, value in table.attrs.items()}


def stamp(result: Backtest) -> str:
    """Return the split of a backtest, with IN-SAMPLE where the router was trained on its dates."""
    sample = ("IN-SAMPLE",) if result.in_sample else ()
    return ", ".join((result.split, *sample, *result.stamps))


def title(result: Backtest) -> str:
    """Return what was traded on what, such as "MM-DREX on sp500"."""
    assets = list(result.bars)
    return f"{result.name} on {assets[0] if len(assets) == 1 else f'{len(assets)} assets'}"


def costs_label(settings: Settings) -> str:
    """Return the costs as a table prints them."""
    return f"net of fees {100 * settings.fees:g} %, slippage {100 * settings.slippage:g} %"


def write_stamped_decisions(path: Path, plans: Mapping[str, Plan]) -> None:
    """Write every decision as a JSON line, with its split and whether it was trained on."""
    with replacing(path) as aside, aside.open("w", encoding="utf-8") as file:
        for plan in plans.values():
            for decision in plan.decisions:
                line = {**decision.to_json(), "split": plan.split, "in_sample": plan.in_sample}
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def write_observations(
    folder: Path,
    plans: Mapping[str, Plan],
    router: DecidesWindows,
    settings: Settings,
    audit: bool = False,
    progress: bool = False,
) -> None:
    """Write the charts the router saw, and for an audit its prompts and series as JSON lines."""
    lines = []
    number = sum(len(plan.decisions) for plan in plans.values())
    with tqdm(total=number, desc="charts", disable=not progress) as bar:
        for symbol, plan in plans.items():
            charts = folder / "charts" / symbol
            charts.mkdir(parents=True)
            observer = Observer(
                plan.bars, symbol, lookback=settings.lookback, anonymous=settings.anonymous
            )
            for decision in plan.decisions:
                observation = observer.at(int(observer.index.searchsorted(decision.time)))
                for view, chart in zip(VIEWS, _charts(observation, router), strict=True):
                    with replacing(charts / f"{decision.time:%Y-%m-%d}_{view}.png") as aside:
                        Image.fromarray(chart).save(aside, "PNG")
                lines.append(observation)
                bar.update()
    if audit:
        with replacing(folder / "observations.jsonl") as aside:
            aside.write_text("".join(map(_observation_line, lines)), encoding="utf-8")


def _charts(observation: Observation, router: DecidesWindows) -> list[NDArray[np.uint8]]:
    processor = getattr(router, "processor", None)
    if processor is None:  # a router of the user's own, which may look at no chart
        return [observation.chart(view) for view in VIEWS]
    charts: list[NDArray[np.uint8]] = processor.charts(observation)
    return charts


def _observation_line(observation: Observation) -> str:
    return json.dumps({
        "time": observation.time.isoformat(),
        "symbol": observation.symbol,
        "observation": observation.digest,
        "prompt": observation.text,
        "series": observation.series.tolist(),
    }, ensure_ascii=False) + "\n"  # fmt: skip


def figure(result: Backtest, settings: Settings) -> Figure:
    """Return the picture of a backtest: equity, and below it the weights as an area."""
    curves = result.equity[[result.name, BENCHMARK]]
    if result.plans:
        tables = [plan.weights.reindex(curves.index).ffill() for plan in result.plans.values()]
        weights = pd.concat(tables).fillna(0.0).groupby(level=0).mean()
    else:
        held = pd.DataFrame({
            symbol: pd.Series(target, index=result.bars[symbol].index)
            for symbol, target in result.targets.items()
        }).reindex(curves.index).ffill().fillna(0.0).mean(axis=1)  # fmt: skip
        weights = pd.DataFrame({"long": held.clip(lower=0.0), "short": -held.clip(upper=0.0)})
    return weights_figure(
        curves,
        weights,
        title=title(result),
        stamp=f"{stamp(result)}; {costs_label(settings)}; seed {settings.seed}",
    )


def write_tearsheet(path: Path, result: Backtest, settings: Settings) -> None:
    """Write the quantstats report of a backtest, net of costs, against buy-and-hold."""
    returns = {
        name: pd.Series(equity_returns(curve), index=curve.index[1:], name=name)
        for name, curve in result.equity[[result.name, BENCHMARK]].items()
    }
    tearsheet(
        returns[result.name],
        returns[BENCHMARK],
        path,
        title=f"{title(result)}; {', '.join((result.split, *result.stamps))}; "
        f"{costs_label(settings)}; seed {settings.seed}",
        in_sample=result.in_sample,
    )


def write_record(
    path: Path,
    result: Backtest,
    settings: Settings,
    router: str | DecidesWindows | None,
    skipped: Mapping[str, str] | None,
) -> None:
    """Write what the run was: settings, assets, split, router, versions."""
    decisions = [decision for plan in result.plans.values() for decision in plan.decisions]
    record = {
        "finished": True,
        "name": result.name,
        "settings": asdict(settings),
        "router": router if router is None or isinstance(router, str) else type(router).__name__,
        "model": decisions[0].model if decisions else None,
        "assets": {
            symbol: [f"{frame.index[0]:%Y-%m-%d}", f"{frame.index[-1]:%Y-%m-%d}", len(frame)]
            for symbol, frame in result.bars.items()
        },
        "skipped": dict(skipped or {}),
        "first": f"{result.equity.index[0]:%Y-%m-%d}",
        "last": f"{result.equity.index[-1]:%Y-%m-%d}",
        "split": result.split,
        "in_sample": result.in_sample,
        "stamps": list(result.stamps),
        "largest gap to the reference simulation": result.gap,
    }
    with replacing(path) as aside:
        aside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
