"""Where the time of a plan goes: drawing, patches, prompt, forward passes, blending.

    python benchmarks/plan.py [--decisions 500]

Plans simulated markets with `tiny`, first with an empty cache, then with a full one, and prints a
stage table. Goals: at most 10 ms a decision outside forward passes; cached, 4 ms in all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps

import packages_first  # noqa: F401  (baselines.py beside this script is not the package)

import mmdrex
from mmdrex.data.simulated import simulated_bars
from mmdrex.engines import planning
from mmdrex.observation.observation import Observation, Observer
from mmdrex.router import router as routers
from mmdrex.router.cache import Cache
from mmdrex.router.processor import MMDREXProcessor

SECONDS: dict[str, float] = defaultdict(float)
OUTER: list[str] = []  # stages under way: time inside an inner stage is not counted twice


def timed(stage: str, function: Callable) -> Callable:
    """Return the function, its own time added to a stage."""

    @wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        started = time.perf_counter()
        OUTER.append(stage)
        try:
            return function(*args, **kwargs)
        finally:
            OUTER.pop()
            spent = time.perf_counter() - started
            SECONDS[stage] += spent
            if OUTER:
                SECONDS[OUTER[-1]] -= spent

    return call


def instrument(router: mmdrex.Router) -> None:
    """Time the stages of a plan."""
    for owner, name, stage in (
        (Observer, "__init__", "indicators"),
        (Observer, "at", "series and prompt"),
        (Observation, "chart", "charts"),
        (MMDREXProcessor, "patches", "patches"),
        (MMDREXProcessor, "inputs", "tokens"),
        (Cache, "keep_features", "cache"),
        (Cache, "keep_record", "cache"),
        (Cache, "features", "cache"),
        (Cache, "record", "cache"),
        (planning, "blend", "rules and blend"),
        (routers, "digest", "digests"),
    ):
        setattr(owner, name, timed(stage, getattr(owner, name)))
    tower = router.backbone.model.visual
    tower.forward = timed("forward: vision", tower.forward)
    router.trunk = timed("forward: trunk", router.trunk)
    router.states = timed("forward: adapters", router.states)


def run(markets: dict, router: mmdrex.Router, title: str) -> None:
    """Plan all markets and print the stage table."""
    SECONDS.clear()
    started = time.perf_counter()
    plans = mmdrex.plan(markets, router=router)
    total = time.perf_counter() - started
    count = sum(len(plan.decisions) for plan in plans.values())
    SECONDS["everything else"] = total - sum(SECONDS.values())
    print(f"\n{title}: {count} decisions in {total:.1f} s\n{'stage':>20} {'ms a decision':>14}")
    for stage, seconds in sorted(SECONDS.items(), key=lambda item: -item[1]):
        print(f"{stage:>20} {1000 * seconds / count:14.2f}")
    forward = sum(seconds for stage, seconds in SECONDS.items() if stage.startswith("forward"))
    print(f"{'outside forward':>20} {1000 * (total - forward) / count:14.2f}")
    print(f"{'in all':>20} {1000 * total / count:14.2f}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decisions", type=int, default=500)
    wanted = parser.parse_args().decisions
    each = 50
    markets = {
        f"simulated {seed}": simulated_bars(seed, bars=199 + 90 * each)[0]
        for seed in range(max(1, wanted // each))
    }
    with tempfile.TemporaryDirectory() as folder:
        router = mmdrex.Router.from_pretrained("tiny", cache=folder)
        mmdrex.plan(simulated_bars(99, bars=400)[0], router=router)  # compiles the rules
        instrument(router)
        run(markets, router, "empty cache")
        run(markets, router, "full cache")


if __name__ == "__main__":
    main()
