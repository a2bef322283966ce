"""Cut real assets at 50 bars, and replace the future by noise: nothing before the cut may change.

    python benchmarks/no_look_ahead.py --data FOLDER [--assets 5] [--cuts 50]

Checked with the embedded router: indicator table, series, prompt, chart pixels, decisions, targets
of MM-DREX and of the 11 rules. Prints how many cuts changed anything; exit code 1 if one did.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import pandas as pd
from tqdm.auto import tqdm

import mmdrex
from mmdrex.data.bars import load_bars
from mmdrex.observation.observation import Observer
from strategies import POOL

BARS = 1500  # the last so many of each asset


def with_noise(bars: pd.DataFrame, cut: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return the bars with every row from ``cut`` on replaced by another random walk."""
    rows = len(bars) - cut
    close = bars["close"].iloc[cut - 1] * np.exp(np.cumsum(rng.normal(0.0, 0.05, rows)))
    noise = pd.DataFrame(
        {
            "open": close,
            "high": close * 1.02,
            "low": close * 0.98,
            "close": close,
            "volume": rng.uniform(1.0, 1e9, rows),
        },
        index=bars.index[cut:],
    )
    return pd.concat([bars[:cut], noise])


def said(bars: pd.DataFrame, cut: int, router: mmdrex.Router) -> dict[str, object]:
    """Return all that is said up to the bar before ``cut``."""
    observer = Observer(bars, "asset")
    one = observer.at(cut - 1)
    plan = mmdrex.plan({"asset": bars}, router=router)["asset"]
    past = [d.to_json() for d in plan.decisions if d.time <= bars.index[cut - 1]]
    return {
        "indicators": observer.table[:cut].tobytes(),
        "series": one.series.tobytes(),
        "prompt": one.text,
        "chart, global": one.chart("global", (280, 224)).tobytes(),
        "chart, local": one.chart("local", (168, 224)).tobytes(),
        "decisions": past,
        "target of MM-DREX": plan.target[:cut].to_numpy().tobytes(),
        **{name: rule.targets(bars)[:cut].tobytes() for name, rule in POOL.items()},
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--assets", type=int, default=5)
    parser.add_argument("--cuts", type=int, default=50)
    arguments = parser.parse_args()
    files = sorted(p for p in arguments.data.rglob("*.csv") if p.name != "manifest.csv")
    rng = np.random.default_rng(0)
    chosen = [files[i] for i in rng.choice(len(files), arguments.assets, replace=False)]
    changed = 0
    with tempfile.TemporaryDirectory() as folder:
        router = mmdrex.Router.from_pretrained("tiny", cache=folder)
        for path in chosen:
            bars = load_bars(path)[-BARS:]
            faults: dict[str, int] = {}
            cuts = rng.integers(300, len(bars), arguments.cuts).tolist()
            for cut in tqdm(cuts, desc=path.stem):
                whole = said(bars, cut, router)
                for future in (bars[:cut], with_noise(bars, cut, rng)):
                    part = said(future, cut, router)
                    for name in whole:
                        faults[name] = faults.get(name, 0) + (part[name] != whole[name])
            wrong = {name: count for name, count in faults.items() if count}
            changed += sum(faults.values())
            print(f"{path.stem:>10}: {len(cuts)} cuts, {len(faults)} things, changed: {wrong or 0}")
    sys.exit(1 if changed else 0)


if __name__ == "__main__":
    main()
