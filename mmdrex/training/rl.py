"""Stage 2: router and experts learn from what their trades earned (MM-DREX, "Stage 2").

    oracle      what every rule earned in every window, simulated once        (training.oracle)
    schedule    non-overlapping windows of one asset, many episodes at once   (training.episodes)
    trunks      all that never learns, computed once                          (training.trunks)
    loop        roll out, then PPO for the experts and eq. 5 for the router
    at the end the checkpoint with the best reward on `select` is the router, sharpened if asked

Several processes: ``accelerate launch -m mmdrex.training.rl rl.yaml`` (on CPUs: ``torchrun``).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import wait_for_everyone
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import TrainerCallback
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.trainer_callback import (
    CallbackHandler,
    DefaultFlowCallback,
    TrainerControl,
    TrainerState,
)

from mmdrex.data.costs import COSTS
from mmdrex.data.splits import no_window_message
from mmdrex.data.windows import first_decision
from mmdrex.errors import one_line
from mmdrex.observation.observation import Observer
from mmdrex.router.router import Router
from mmdrex.router.storage import weights_digest
from mmdrex.training.arguments import given_settings
from mmdrex.training.assets import training_assets
from mmdrex.training.centring import centre
from mmdrex.training.checkpoints import (
    checkpoint_asked,
    load_weights,
    push,
    require_checkpoint,
    require_finite,
    require_writable,
    same_run,
    seen_dates,
    write_final,
)
from mmdrex.training.episodes import Schedule, schedule
from mmdrex.training.fresh import forget
from mmdrex.training.fusing import fuse
from mmdrex.training.history import earlier_runs
from mmdrex.training.learner import Learner
from mmdrex.training.oracle import Oracle, build_oracle
from mmdrex.training.rl_checkpoints import (
    STAGE,
    load_state,
    run_record,
    save,
)
from mmdrex.training.rl_config import RLConfig, rl_config
from mmdrex.training.rollout import Rewards, Rollout
from mmdrex.training.trade import Trade
from mmdrex.training.trunks import Trunks
from mmdrex.training.update import learn
from strategies import POOL

log = logging.getLogger(__name__)

Rows = NDArray[np.int64]
SHOWN = {"reward": "reward", "select_reward": "select", "weights_entropy": "H(w)"}


def train_rl(
    router: Router,
    oracle: Oracle,
    fit: NDArray[np.bool_],
    select: Rows,
    config: RLConfig,
    progress: bool = True,
    callbacks: Sequence[TrainerCallback] = (),
    observer: type[Observer] = Observer,
) -> TrainerState:
    """Train a router in place and write it, with its checkpoints, to ``config.output_dir``.

    Parameters
    ----------
    router : Router
        From SFT as a rule; left with the weights of the best checkpoint, sharpened if asked
        (checkpoints are not). To resume, give it as the run found it: loaded anew, not one that has
        learned since.
    oracle : Oracle
    fit : ndarray of bool of shape (N,)
        Which windows of the oracle's table may be trained on.
    select : ndarray of int of shape (M,)
        The windows on which the checkpoint is chosen.
    config : RLConfig
        With ``resume_from_checkpoint`` the run goes on where its last whole checkpoint stands.
    progress : bool
    callbacks : sequence of TrainerCallback
        They say when to log, score, keep and stop. A step is an update; there are no epochs, and
        no steps within one. ``EarlyStoppingCallback`` wants a metric that only ``Trainer`` has.
    observer : type
        What makes the observations; one of your own may hide or change what is seen.

    Returns
    -------
    TrainerState
        With the history of all figures.

    Raises
    ------
    LossError
        If the loss is not a number; the batch lies in the output folder.
    """
    out = Path(str(config.output_dir))
    start = weights_digest(router.state_dict())
    set_up(router, config)
    visits = _visits(oracle, fit, config)
    updates = len(visits.rows) // config.update_every
    record = run_record(router, oracle, visits, select, config, start)
    learner = Learner.of(router, updates, config)
    state = TrainerState()
    checkpoint = checkpoint_asked(out, config.resume_from_checkpoint)
    if checkpoint is not None:
        same_run(checkpoint, STAGE, record)
        state = load_state(checkpoint, out, router, learner)
    _told_apart(state, updates, config)
    earlier = earlier_runs(router.config.training, (STAGE,))
    router.config.training = {**earlier, STAGE: record}
    outcomes = oracle.dates(np.append(np.unique(visits.rows), select))
    router.config.trained = seen_dates(outcomes, router.config.trained)

    wanted = np.concatenate([visits.rows.ravel(), visits.following.ravel(), select])
    trunks = _trunks(router, oracle, wanted, config, progress, observer)
    if config.train_router and checkpoint is None:
        centre(router, trunks, np.unique(visits.rows), config)
    trade = Trade(router, oracle, trunks, select, Rewards(router, oracle, config), config)
    reports = get_reporting_integration_callbacks(config.report_to)
    handler = CallbackHandler(
        [DefaultFlowCallback, *reports, *callbacks],
        *(router, router.processor, learner.optimizer, learner.scheduler),
    )
    control = handler.on_init_end(config, state, TrainerControl())
    control = handler.on_train_begin(config, state, control)
    silent = not (progress and state.is_world_process_zero)
    bar = tqdm(total=updates, initial=state.global_step, desc="trading", disable=silent)
    shown: dict[str, str] = {}
    while state.global_step < updates and not control.should_training_stop:
        update = state.global_step
        control = handler.on_step_begin(config, state, control)
        # One generator per update: a resumed run draws what an undisturbed one draws.
        rng = np.random.default_rng([config.seed, update])
        steps = visits.part(update * config.update_every, (update + 1) * config.update_every)
        rollout = trade.roll_out(steps, rng)
        figures = learn(router, trunks, rollout, learner, config, rng, update)
        figures |= _rollout_figures(rollout)
        state.global_step = update + 1
        state.epoch = (update + 1) / updates
        control = handler.on_step_end(config, state, control)
        # What is kept is scored, so that the best can be chosen; what ends is kept.
        due = control.should_save or control.should_evaluate or control.should_training_stop
        if due:
            figures |= trade.on_select()
            _note_best(state, figures["select_reward"])
            control = handler.on_evaluate(config, state, control, figures)
        if due or control.should_log:
            state.log_history.append({**figures, "step": update + 1})
            control = handler.on_log(config, state, control, figures)
        if due:
            if config.should_save:
                save(out, router, learner, state, config.save_total_limit)
            control = handler.on_save(config, state, control)
        shown |= {SHOWN[name]: f"{value:.3f}" for name, value in figures.items() if name in SHOWN}
        bar.set_postfix(shown)
        bar.update()
    bar.close()
    handler.on_train_end(config, state, control)
    _finish(trade, state, record)
    return state


def _trunks(
    router: Router,
    oracle: Oracle,
    rows: Rows,
    config: RLConfig,
    progress: bool,
    observer: type[Observer],
) -> Trunks:
    """Return what the adapters read in the windows; one process sees the charts for all."""
    folder = None if config.cache_folder is None else Path(config.cache_folder)
    with config.main_process_first(desc="seeing charts"):
        return Trunks(
            router,
            oracle,
            rows.tolist(),
            config.anonymous,
            config.trunk_gigabytes,
            folder,
            progress,
            observer=observer,
        )


def _told_apart(state: TrainerState, updates: int, config: RLConfig) -> None:
    """Tell a run's state how long it is, how often it reports, and which process it is of."""
    state.max_steps = updates
    state.compute_steps(config, updates)
    state.is_world_process_zero = config.process_index == 0
    state.is_local_process_zero = config.local_process_index == 0


def _visits(oracle: Oracle, fit: NDArray[np.bool_], config: RLConfig) -> Schedule:
    """Return the windows of all updates, in order."""
    visits = schedule(
        oracle.episodes(fit),
        config.per_device_train_batch_size * config.world_size,
        config.update_every,
        config.max_episodes,
        config.episode_windows,
        config.seed,
    )
    limit = config.max_steps * config.update_every
    return visits.part(0, limit) if config.max_steps > 0 else visits


def _finish(trade: Trade, state: TrainerState, record: dict[str, Any]) -> None:
    """Give the router the weights of the best checkpoint, sharpen it if asked, and write it."""
    router, config = trade.router, trade.config
    out = Path(str(config.output_dir))
    wait_for_everyone()
    if state.best_metric is not None:  # a callback may stop a run before anything is kept
        load_weights(router, out / f"checkpoint-{state.best_global_step}")
    router.requires_grad_(False)
    ended = {
        "updates": state.global_step,
        "best update": state.best_global_step,
        "reward on select": state.best_metric,
    }
    if config.sharpness != [1.0]:
        factor, reward = trade.sharpen()
        ended |= {"logits multiplied by": factor, "reward on select, sharpened": reward}
    router.config.training[STAGE] = {**record, **ended}
    router.refresh()
    if config.should_save:
        require_finite(router, state.global_step)
        write_final(router, out)
        if config.push_to_hub:
            push(router, config)


def set_up(router: Router, config: RLConfig) -> None:
    """Put the router on its device, without dropout, with the ablations asked for."""
    router.to(config.device)
    if config.fuse:
        # The last layer computes one token: nothing to gain, and kernels of its own to compile.
        fuse(router.backbone.model.language_model.layers[:-1])
    router.eval()  # dropout off in rollout and update: the ratio of eq. 9 starts at one
    if config.modalities is not None and config.modalities != router.config.modalities:
        router.config.modalities = config.modalities
        router.processor = router.processor.seeing(config.modalities)
    if config.fresh_start:
        forget(router, config.seed)
    router.refresh()


def _rollout_figures(rollout: Rollout) -> dict[str, float]:
    weights = rollout.weights
    return {
        "reward": float(rollout.reward.mean()),
        "baseline": float(rollout.baseline.mean()),
        "weights_entropy": float(-(weights * np.log(weights)).sum(axis=-1).mean()),
        "policy_entropy": float(-rollout.log_policy.mean()),  # its estimate from the actions drawn
    }


def _note_best(state: TrainerState, reward: float) -> None:
    if state.best_metric is None or reward > state.best_metric:
        state.best_metric, state.best_global_step = reward, state.global_step


def run(
    config: RLConfig, progress: bool = True, callbacks: Sequence[TrainerCallback] = ()
) -> TrainerState:
    """Train as the settings say: load router and prices, build the oracle, loop."""
    if not config.data:
        raise ValueError("data is missing: a folder of CSV prices, or simulated:COUNT")
    out = Path(str(config.output_dir))
    require_checkpoint(out, config.resume_from_checkpoint)
    if config.should_save:
        require_writable(out)
    router = Router.from_pretrained(config.init, seed=config.seed)
    missing = [rule for rules in router.rules.values() for rule in rules if rule not in POOL]
    if missing:
        raise ValueError(f"{config.init} knows rules this version has not: {', '.join(missing)}")
    folder = None if config.cache_folder is None else Path(config.cache_folder) / "oracle"
    with config.main_process_first(desc="simulating the rules"):
        oracle = build_oracle(
            training_assets(config.data),
            POOL,
            COSTS[config.costs],
            config.window,
            router.config.lookback,
            config.stride,
            folder,
            progress,
        )
    fit, select = oracle.inside(config.fit_split), select_rows(oracle, config.select_split)
    for split, count in ((config.fit_split, int(fit.sum())), (config.select_split, len(select))):
        if not count:
            raise ValueError(no_window_message(config.window, split, config.data))
    return train_rl(router, oracle, fit, select, config, progress, callbacks)


def select_rows(oracle: Oracle, split: str) -> Rows:
    """Return the non-overlapping windows of a split that lie on the first grid of each asset."""
    offset = oracle.windows[:, 1] - first_decision(oracle.lookback)
    on_grid = oracle.inside(split) & (offset % oracle.window == 0)
    return np.flatnonzero(on_grid).astype(np.int64)


def main(arguments: list[str] | None = None) -> None:
    """Train from a YAML file or options: ``python -m mmdrex.training.rl rl.yaml``."""
    given = given_settings(sys.argv[1:] if arguments is None else arguments, RLConfig)
    logging.basicConfig(level=logging.INFO)
    run(rl_config(given.pop("output_dir"), **given))


if __name__ == "__main__":
    with one_line():
        main()
