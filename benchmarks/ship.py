"""Measure a trained tiny, write its model card and store it as the package ships it: float16.

    python benchmarks/ship.py --data ../shared/data --trend runs/sft --router runs/rl --out tiny
        [--seeds runs/rl43 runs/rl44 ...] [--alone runs/rl_no_group_reward] [--work DIR]

`--trend` is the router after stage 1, `--router` the one after stage 2. `--seeds` are others of
stage 2 that differ by their seed alone, `--alone` one trained without the group reward; they are
traded, not shipped. Everything is measured on stored float16 files: the exam of stage 0 (nine
minutes of one core), the trend of the next window (four, for each of two routers), the trades of
the validation split (five, and two for each further router). What was measured lies in `--work`
and is not measured again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import torch
from validation import CLASSES, measure

from mmdrex.data.splits import split_range
from mmdrex.router.router import Router
from mmdrex.training.assets import training_assets
from mmdrex.training.charts import store
from mmdrex.training.exam import examine
from mmdrex.training.history import SHIPPED_ON
from mmdrex.training.labels import LABELS
from mmdrex.training.sft import evaluate_sft
from mmdrex.training.sft_config import sft_config

SCORES = ("accuracy", "balanced", "low", "high", "log loss", "calibration error")
NAMED = {
    "balanced": "balanced accuracy",
    "low": "balanced accuracy, 95 % from",
    "high": "balanced accuracy, 95 % to",
}


def kept(path, routers, measured):
    """Return what a file holds of these routers, or measure it and keep it there."""
    names = [router.model for router in routers]
    record = json.loads(path.read_text()) if path.exists() else {}
    if record.get("routers") != names:
        record = {"routers": names, "told": measured()}
        path.write_text(json.dumps(record, indent=1))
    return record["told"]


def as_shipped(source, folder, cache):
    """Store a router as float16, its backbone inside, and return it as it reloads."""
    router = Router.from_pretrained(str(source), cache=False)
    router.config.backbone, router.config.backbone_revision = "tiny", None
    store(router, folder)
    return Router.from_pretrained(str(folder), cache=cache or True)


def trend_record(router, assets, options):
    """Return how well a router tells the trend of the validation split's windows."""
    config = sft_config(options.work / "none", data=str(options.data), vision_folder=options.cache)
    return evaluate_sft(router, assets, config, progress=False).record()


def trend_figures(told, names):
    """Return the scores of some predictors under names for a card."""
    return {
        f"{name}: {NAMED.get(score, score)}": told["figures"][name][score]
        for name in names
        for score in SCORES
    }


def differences(told):
    """Return the intervals of how far the router's balanced accuracy lies above the references'."""
    pairs = {name: pair for name, pair in told["intervals"].items() if " - " in name}
    return {
        f"balanced accuracy, {name}: 95 % {end}": value
        for name, pair in pairs.items()
        for end, value in zip(("from", "to"), pair, strict=True)
    }


def write_trend(record, told):
    """Put the figures of stage 1 into its record."""
    ours, *others = (told["figures"][name]["balanced"] for name in told["figures"])
    met = "met" if ours > max(others) else "not met"
    record["goal"] = f"balanced accuracy above both references: {met}"
    record["figures of"] = "this stage's router, float16 (mmdrex train sft --evaluate)"
    record["confusion"] = {
        f"{name}'s (truth, then told as {', '.join(LABELS)})": "; ".join(
            f"{label} {row}" for label, row in zip(LABELS, counts, strict=True)
        )
        for name, counts in told["confusion"].items()
    }
    record["figures"] = {
        "validation windows": told["windows"],
        **trend_figures(told, told["figures"]),
        **differences(told),
    }


def write_trades(record, told, traded, seeds, alone):
    """Put the figures of stage 2 into its record: the label after it, trades, choices."""
    figures = {
        f"trend of the next window, {name}": value
        for name, value in trend_figures(told, ["router"]).items()
    }
    for kind, rows in traded["classes"].items():
        figures |= class_figures(kind, rows, seeds)
    choices = {"": "router"} | ({"without the group reward: ": "alone"} if alone else {})
    for why, name in choices.items():
        for expert, (entropy, rule) in traded["entropy"][name].items():
            figures[f"{why}entropy of {expert}'s choices, nats (most often {rule})"] = entropy
    record["validation"] = (
        "net of the costs of mmdrex.data.costs, printed by benchmarks/validation.py; "
        f"{1 + len(seeds)} training seeds of this stage"
    )
    record["figures"] = figures


def class_figures(kind, rows, seeds):
    """Return Sharpe ratio and drawdown of every row of one class, seeds summed up."""
    routers = [rows[name] for name in ("router", *seeds)]
    chance = [row for name, row in rows.items() if name.startswith("random")]
    ours = routers[0]
    told = {
        f"{kind}, router: Sharpe": ours["Sharpe"],
        f"{kind}, router: Sharpe, 95 % from": ours["Sharpe low"],
        f"{kind}, router: Sharpe, 95 % to": ours["Sharpe high"],
        f"{kind}, router: largest drawdown": abs(ours["MDD"]),
    }
    groups = {f"router, {len(routers)} training seeds": routers, "random weights, 5 seeds": chance}
    for name, group in groups.items():
        if len(group) > 1:
            sharpe = [row["Sharpe"] for row in group]
            told |= {
                f"{kind}, {name}: mean Sharpe": float(np.mean(sharpe)),
                f"{kind}, {name}: least Sharpe": min(sharpe),
                f"{kind}, {name}: largest Sharpe": max(sharpe),
                f"{kind}, {name}: mean largest drawdown": float(
                    np.mean([abs(row["MDD"]) for row in group])
                ),
            }
    for name, row in rows.items():
        if name not in ("router", "alone", *seeds) and not name.startswith("random"):
            told[f"{kind}, {name}: Sharpe"] = row["Sharpe"]
            told[f"{kind}, {name}: largest drawdown"] = abs(row["MDD"])
    return told


def data_record(assets):
    """Return what a card says of the data: how many assets, which days, what was left unseen."""
    days = {
        split: "; ".join(
            f"{kind} {'' if split == 'fit' else f'{first:%Y-%m-%d} '}to {last:%Y-%m-%d}"
            for kind in ("exchange", "crypto")
            for first, last in [split_range(split, kind == "crypto")]
        )
        for split in ("fit", "select", "validation")
    }
    return {"assets": f"{len(assets)}: {', '.join(sorted(assets))}", **days}


def main():
    """Measure, write, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trend", type=Path, required=True, help="after stage 1")
    parser.add_argument("--router", type=Path, required=True, help="after stage 2; is shipped")
    parser.add_argument("--seeds", type=Path, nargs="*", default=[], help="stage 2, other seeds")
    parser.add_argument("--alone", type=Path, help="stage 2 without the group reward")
    parser.add_argument("--out", type=Path, required=True, help="folder to store the router in")
    parser.add_argument("--limits", default="", help="a sentence for the card: what it can't do")
    parser.add_argument("--minutes", nargs="*", default=[], help='as "stage 1=14 of one core"')
    parser.add_argument("--work", type=Path, default=Path("runs/ship"))
    parser.add_argument("--cache", type=Path, help="where image tokens and decisions are kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("exam", "trend", "after", "trades"), help="measure this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    router = as_shipped(options.router, options.work / "router", options.cache)
    trend = as_shipped(options.trend, options.work / "trend", options.cache)
    seeds = {f"seed {number}": path for number, path in enumerate(options.seeds, start=2)}
    routers = {"router": router}
    for name, path in (seeds | ({"alone": options.alone} if options.alone else {})).items():
        routers[name] = as_shipped(path, options.work / name, options.cache)
    assets = training_assets(str(options.data))
    measures = {
        "exam": ([router], lambda: examine(router, assets, progress=False)),
        "trend": ([trend], lambda: trend_record(trend, assets, options)),
        "after": ([router], lambda: trend_record(router, assets, options)),
        "trades": (routers.values(), lambda: measure(options.data, routers, CLASSES)),
    }
    told = {
        name: kept(options.work / f"{name}.json", of, one)
        for name, (of, one) in measures.items()
        if options.only in (None, name)
    }
    if options.only:
        return
    training = router.config.training
    training["stage 0"] |= {
        "figures": told["exam"],
        "read": "under the router's adapter as shipped (mmdrex train charts --evaluate)",
    }
    training["stage 1"]["model"] = "tiny of stage 0"
    write_trend(training["stage 1"], told["trend"])
    write_trades(training["stage 2"], told["after"], told["trades"], seeds, options.alone)
    for stage, minutes in (one.split("=", 1) for one in options.minutes):
        training[stage]["minutes"] = minutes
    if options.limits:
        training["stage 2"]["limits"] = options.limits
    router.config.training = {SHIPPED_ON: data_record(assets), **training}
    store(router, options.out)
    print((options.out / "README.md").read_text())


if __name__ == "__main__":
    main()
