"""Markets whose regimes are known: what a router earns there, beside those that know or guess them.

The markets of ``mmdrex.data.regimes`` are told apart by asset: some to train on, some to choose
on, some never seen. A regime is that of the decision bar; nothing of what follows is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from mmdrex.data.regimes import REGIMES, regime_bars
from mmdrex.observation.observation import Observation, Observer
from mmdrex.observation.text import Account
from mmdrex.router.router import Router
from mmdrex.training.losses import base_reward
from mmdrex.training.oracle import Oracle, build_oracle
from mmdrex.training.rl_config import RLConfig
from mmdrex.training.rollout import Rewards
from mmdrex.training.trunks import Trunks, look
from mmdrex.training.update import autocast

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

PARTS = ("train", "select", "test")
FIRST_SEED = {"train": 100_000, "select": 200_000, "test": 300_000}
SEEDS_APART = 1000  # between the first markets of two runs
THIN = 3  # windows trained on overlap: every third tells which expert is right in a regime


@dataclass(frozen=True, eq=False)
class KnownMarkets:
    """Markets of all parts in one oracle, and the truth.

    Attributes
    ----------
    oracle : Oracle
    regime : ndarray of int of shape (N,)
        Of each window's decision bar, a place in ``REGIMES``.
    rows : dict of str to ndarray of int
        The windows of each part; those of ``select`` and ``test`` do not overlap.
    """

    oracle: Oracle
    regime: Rows
    rows: dict[str, Rows]


def known_markets(
    counts: dict[str, int], bars: int, stride: int, seed: int, folder: str | Path
) -> KnownMarkets:
    """Return markets that no other seed and no other part has.

    Parameters
    ----------
    counts : dict of str to int
        Markets of each of ``PARTS``.
    bars : int
        Of each market.
    stride : int
        Bars by which windows to train on are moved.
    seed : int
    folder : path
        Where the oracle is kept.
    """
    assets: dict[str, pd.DataFrame] = {}
    regimes, part_of = [], []
    names = list(REGIMES)
    for part in PARTS:
        for number in range(counts[part]):
            frame, regime = regime_bars(FIRST_SEED[part] + SEEDS_APART * seed + number, bars)
            assets[frame.attrs["symbol"]] = frame
            regimes.append(np.array([names.index(name) for name in regime]))
            part_of.append(part)
    oracle = build_oracle(assets, stride=stride, folder=folder)
    number, start = np.asarray(oracle.windows).T
    at_decision = np.array([regimes[i][d] for i, d in zip(number, start, strict=True)])
    part_rows = np.array(part_of)[number]
    on_grid = (start - start.min()) % oracle.window == 0
    rows = {
        part: np.flatnonzero((part_rows == part) & (on_grid | (part == "train"))) for part in PARTS
    }
    return KnownMarkets(oracle, at_decision, rows)


class Earned(NamedTuple):
    """What blends earned in M windows."""

    reward: Array  # (M,) eq. 12
    total: Array  # (M,) a fraction


def earned(oracle: Oracle, rows: Rows, weights: Array, columns: Rows) -> Earned:
    """Return what the experts' rules (M, K) earn, blended exactly by the weights (M, K)."""
    told = oracle.blend(rows, weights, columns)
    return Earned(base_reward(told.excess, told.sharpe, told.drawdown), told.total)


def experts_reward(oracle: Oracle, rows: Rows, columns: Rows) -> Array:
    """Return the reward of eq. 12 of each expert alone, (M, K)."""
    excess, sharpe, drawdown = (
        oracle.figure(name)[rows[:, None], columns] for name in ("excess", "sharpe", "drawdown")
    )
    return base_reward(excess, sharpe, drawdown)


def right_experts(reward: Array, regime: Rows) -> Rows:
    """Return, per regime, the expert that earned most in it; from windows trained on.

    Parameters
    ----------
    reward : ndarray of shape (M, K)
        Of each expert alone.
    regime : ndarray of int of shape (M,)

    Raises
    ------
    ValueError
        If a regime has no window.
    """
    absent = [name for number, name in enumerate(REGIMES) if not (regime == number).any()]
    if absent:
        raise ValueError(f"no window of {', '.join(absent)} to learn from; give more markets")
    means = [reward[regime == number].mean(axis=0) for number in range(len(REGIMES))]
    right: Rows = np.stack(means).argmax(axis=1)
    return right


class Told(NamedTuple):
    """What a trained router says: experts' rules where it was trained, all where it is scored."""

    trained_on: Rows  # (N, K) columns of the oracle's table in every third window of ``train``
    columns: Rows  # (M, K) in those of ``test``
    weights: Array  # (M, K)


def told_by(
    router: Router,
    markets: KnownMarkets,
    config: RLConfig,
    observer: type[Observer] = Observer,
) -> Told:
    """Return what a router decides, as at inference, on the markets' windows."""
    train = markets.rows["train"][::THIN]
    rows = np.concatenate([train, markets.rows["test"]]).tolist()
    folder = None if config.cache_folder is None else Path(config.cache_folder)
    seen = Trunks(
        *(router, markets.oracle, rows, config.anonymous, config.trunk_gigabytes, folder),
        observer=observer,
    )
    with autocast(config):
        said = look(router, seen, rows, 0, 1)
    actions = np.stack([logits.argmax(axis=1) for logits in said.policies], axis=1)
    columns = Rewards(router, markets.oracle, config).chosen(actions)
    count = len(train)
    return Told(columns[:count], columns[count:], softmax(said.weights[count:], axis=1))


def references(
    markets: KnownMarkets, told: Told, guesses: Rows | None = None, seed: int = 0
) -> dict[str, Array]:
    """Return the weights (M, K) in the test windows of the router and of what it is held against.

    Parameters
    ----------
    markets : KnownMarkets
    told : Told
    guesses : ndarray of int of shape (M,), optional
        Regimes that a classifier tells; adds the row ``trees``.
    seed : int
        Of the random weights.
    """
    train, test = markets.rows["train"][::THIN], markets.rows["test"]
    reward = experts_reward(markets.oracle, train, told.trained_on)
    right = right_experts(reward, markets.regime[train])
    count, experts = told.weights.shape
    sure = np.eye(experts)
    weights = {
        "router": told.weights,
        "omniscient": sure[right[markets.regime[test]]],
        "uniform": np.full((count, experts), 1 / experts),
        "best expert": np.tile(sure[reward.mean(axis=0).argmax()], (count, 1)),
        "random": np.random.default_rng(seed).dirichlet(np.ones(experts), count),
    }
    return weights if guesses is None else weights | {"trees": sure[right[guesses]]}


def series_of(markets: KnownMarkets, rows: Rows) -> NDArray[np.float32]:
    """Return the series T of windows, flat: (M, lookback * 17)."""
    oracle = markets.oracle
    observers: dict[int, Observer] = {}
    flat = []
    for number, start in np.asarray(oracle.windows)[rows].tolist():
        if number not in observers:
            symbol = oracle.symbols[number]
            observers[number] = Observer(oracle.assets[symbol], symbol, oracle.lookback)
        flat.append(observers[number].at(start).series.ravel())
    return np.stack(flat)


def only(modality: str, markets: KnownMarkets, seed: int) -> type[Observer]:
    """Return an observer of one modality of its own market, the other two of two other markets.

    Each of the two comes from a window drawn at random from another market of the same part, and
    stays that window's.

    Parameters
    ----------
    modality : str
        ``"V"``, ``"T"`` or ``"L"``: the one that tells the truth.
    markets : KnownMarkets
    seed : int
    """
    oracle = markets.oracle
    windows = np.asarray(oracle.windows)
    mates: dict[str, Rows] = {}
    for rows in markets.rows.values():
        for number in np.unique(windows[rows, 0]).tolist():
            mates[oracle.symbols[number]] = rows[windows[rows, 0] != number]
    plain: dict[int, Observer] = {}

    class Scrambled(Observer):
        """Shows two modalities of other markets."""

        def at(self, t: int, account: Account | None = None) -> Observation:
            own = super().at(t, account)
            number = oracle.symbols.index(self.symbol)
            rng = np.random.default_rng([seed, number, t])
            parts = {"V": own, "T": own, "L": own}
            for other in parts:
                if other != modality:
                    donor, start = windows[rng.choice(mates[self.symbol])].tolist()
                    if donor not in plain:
                        symbol = oracle.symbols[donor]
                        plain[donor] = Observer(
                            oracle.assets[symbol],
                            symbol,
                            self.lookback,
                            self.pool,
                            self.anonymous,
                            self.experts,
                        )
                    parts[other] = plain[donor].at(start)
            return replace(
                own, window=parts["V"].window, series=parts["T"].series, text=parts["L"].text
            )

    return Scrambled
