"""Time one update of the reinforcement stage, with and without caches, stage by stage.

    python benchmarks/rl_step.py [--router tiny] [--windows 16] [--threads 1]

An update looks at a rollout once and passes over it as often as tiny's own settings say (`TINY` of
mmdrex/training/rl_config.py: twice, for router and experts).

    cached    image tokens and trunk are kept: an update runs the layers that carry adapters
    shared    each pass runs vision tower and all layers, once for all five adapters
    apart     as shared, for every adapter on its own
    plain     as apart, through the forward of transformers and PEFT in place of the router's own:
              what training takes without anything of this project

Measured for adapters on the last 2 layers and on all of them (fresh ones, of the same shape). CPU
seconds of the process; another process on the same core still slows its memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import torch

from mmdrex.data.sample import sample_bars
from mmdrex.observation.observation import Observer
from mmdrex.router.cache import Cache
from mmdrex.router.router import Router
from mmdrex.router.storage import fresh_router
from mmdrex.training.episodes import schedule
from mmdrex.training.learner import Learner
from mmdrex.training.oracle import build_oracle
from mmdrex.training.rl_config import rl_config
from mmdrex.training.rollout import Rewards, roll_out, visited
from mmdrex.training.trunks import Trunks, look
from mmdrex.training.update import autocast, learn

GOAL = 5.0


class Uncached(Trunks):
    """Trunks computed anew whenever they are asked for, vision included."""

    def __init__(self, router, oracle, rows, observations):
        super().__init__(router, oracle, rows, folder=None)
        self.observations = observations
        self.rows = sorted(set(rows))
        self.read = self._inputs

    @torch.no_grad()
    def __call__(self, row):
        """Return the trunk of one window."""
        return self.router.trunk(
            [self._inputs[self._places[row]]], self.router.vision([self.observations[row]])
        )


def run_each_apart(router, trunks, plain):
    """Let every adapter run vision tower and trunk of its own, but the first: its is given."""

    def through_library(trunk, adapters):
        (name,) = adapters
        learning = [one for one in router.vlm.parameters() if one.requires_grad]
        router.vlm.set_adapter(name)  # and all the others stop learning
        router.vlm.requires_grad_(False)
        for parameter in learning:
            parameter.requires_grad_(True)
        return router.sequence(trunk)[None, :, -1].float()

    together = through_library if plain else router.states
    lengths = {len(inputs.ids): row for row, inputs in zip(trunks.rows, trunks.read, strict=True)}

    def states(trunk, adapters):
        row = lengths[trunk.states.shape[1]]  # any of this length takes as long
        own = [trunk, *(trunks(row) for _ in adapters[1:])]
        return torch.cat([together(one, (name,)) for one, name in zip(own, adapters, strict=True)])

    router.states = states


def update_seconds(router, oracle, trunks, visits, config):
    """Return CPU seconds of looking and of learning."""
    rewards, rng = Rewards(router, oracle, config), np.random.default_rng(0)
    learner = Learner.of(router, 1, config)
    rows = visited(visits)
    began = time.process_time()
    with autocast(config):
        seen = look(router, trunks, rows, 0, 1)
    looked = time.process_time()
    rollout = roll_out(rewards, visits, rows, seen, config, router.config.kappa, rng)
    learn(router, trunks, rollout, learner, config, rng, 0)
    return looked - began, time.process_time() - looked


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--router", default="tiny")
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bars = sample_bars("sp500")
    with tempfile.TemporaryDirectory() as folder:
        oracle = build_oracle({"sp500": bars}, folder=folder)
        episodes = oracle.episodes(oracle.inside("fit"))
        batch = max(1, options.windows // 4)
        visits = schedule(episodes, batch, 4, 2500, 8, 42).part(0, 4)
        config = rl_config(folder, per_device_train_batch_size=batch, use_cpu=True)
        print(
            f"{visits.rows.size} windows an update, {options.threads} thread(s); CPU seconds a "
            f"window\n{'adapters':12}{'caches':9}{'look':>8}{'learn':>8}{'update':>8}{'ratio':>8}"
        )
        for layers in (2, None):
            router = Router.from_pretrained(options.router, cache=False)
            if layers != router.config.lora_layers:
                model = router.vlm.unload()
                router.config.lora_layers = layers
                router = fresh_router(
                    Router, router.config, model, router.processor.tokenizer, Cache(None)
                )
            name = "all layers" if layers is None else f"last {layers}"
            seconds = {}
            for caches in ("cached", "shared", "apart", "plain"):
                rows = visited(visits)
                if caches == "cached":
                    trunks = Trunks(router, oracle, rows, folder=Path(folder))
                    for row in rows:  # computed once a run: not part of an update
                        trunks(row)
                else:
                    observer = Observer(bars, "sp500")
                    observations = {row: observer.at(int(oracle.windows[row, 1])) for row in rows}
                    trunks = Uncached(router, oracle, rows, observations)
                if caches == "apart":
                    run_each_apart(router, trunks, plain=False)
                if caches == "plain":
                    del router.states  # back to the router's own, which is not used below
                    run_each_apart(router, trunks, plain=True)
                looking, learning = update_seconds(router, oracle, trunks, visits, config)
                count = visits.rows.size
                seconds[caches] = (looking + learning) / count
                ratio = seconds[caches] / seconds["cached"]
                print(
                    f"{name:12}{caches:9}{looking / count:8.3f}{learning / count:8.3f}"
                    f"{seconds[caches]:8.3f}{ratio:8.1f}",
                    flush=True,
                )
    print(f"goal with adapters on the last 2 layers: plain {GOAL:.0f} times the cached")


if __name__ == "__main__":
    main()
