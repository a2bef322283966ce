"""The reward oracle: what every rule earns in every window, simulated once, then looked up.

All rules on every (asset, window start) are columns of vectorbt's ``Portfolio.from_orders``, tens
of thousands a call. The table is a folder of memory-mapped arrays named by a digest of bars, rules,
window and costs: built once, shared by processes, built again when damaged. What training asks of
it is a look-up; a blend of rules is simulated exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import NDArray

from mmdrex.data.bars import periods_per_year
from mmdrex.data.costs import Costs
from mmdrex.data.files import replacing
from mmdrex.data.splits import asset_class, outcomes_inside
from mmdrex.data.windows import LOOKBACK, WINDOW, first_decision
from mmdrex.router.cache import default_folder
from mmdrex.training.oracle_table import FIGURES, oracle_digest, read_table, write_table
from mmdrex.training.windows import Outcomes, Prices, RuleTargets, outcomes
from strategies import POOL
from strategies.rule import Rule

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

STRIDE = 16  # Paper silent: its counts imply about 16 bars between window starts


def window_starts(
    index: pd.DatetimeIndex,
    window: int = WINDOW,
    lookback: int = LOOKBACK,
    stride: int = STRIDE,
) -> Rows:
    """Return the decision bars of all windows with a whole outcome, ascending.

    Episodes are non-overlapping windows; the stride moves the first start, by less than a window.
    """
    first = first_decision(lookback)
    firsts = np.arange(first, first + window, stride)
    starts = [np.arange(start, len(index) - window, window) for start in firsts]
    return np.sort(np.concatenate(starts)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Oracle:
    """The table of what every rule earned in every window; made by ``build_oracle``.

    Attributes
    ----------
    assets : dict of str to DataFrame
        Bars by symbol.
    pool : dict of str to Rule
        R rules.
    costs : Costs
    window, lookback, stride : int
        Bars.
    windows : ndarray of int of shape (N, 2)
        Number of the asset and row of the decision bar.
    figures : ndarray of shape (5, N, R)
        In the order of ``FIGURES``.
    returns : ndarray of float32 of shape (N, R, window)
        Simple returns per bar.
    """

    assets: Mapping[str, pd.DataFrame]
    pool: Mapping[str, Rule]
    costs: Costs
    window: int
    lookback: int
    stride: int
    windows: Rows
    figures: Array
    returns: NDArray[np.float32]

    def figure(self, name: str) -> Array:
        """Return one of ``FIGURES`` for all windows and rules, shape (N, R)."""
        values: Array = self.figures[FIGURES.index(name)]
        return values

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The assets, in the order of their numbers."""
        return tuple(self.assets)

    @cached_property
    def rules(self) -> tuple[str, ...]:
        """The rules, in the order of the table's columns."""
        return tuple(self.pool)

    @cached_property
    def _rows(self) -> dict[tuple[int, int], int]:
        return {(asset, start): i for i, (asset, start) in enumerate(self.windows.tolist())}

    def row(self, symbol: str, start: int) -> int:
        """Return the table's row of the window decided after bar ``start`` of an asset.

        Raises
        ------
        KeyError
            If the table holds no such window.
        """
        key = self.symbols.index(symbol), int(start)
        if key not in self._rows:
            raise KeyError(f"the oracle has no window of {symbol} decided at bar {start}")
        return self._rows[key]

    def inside(self, split: str) -> NDArray[np.bool_]:
        """Return which windows have their whole outcome in a split, shape (N,); others are purged.

        Parameters
        ----------
        split : str
            One of ``mmdrex.data.splits.SPLITS``.
        """
        inside = np.zeros(len(self.windows), dtype=np.bool_)
        for number, bars in enumerate(self.assets.values()):
            mine = self.windows[:, 0] == number
            index = pd.DatetimeIndex(bars.index)
            crypto = periods_per_year(index) == 365
            starts = self.windows[mine, 1]
            inside[mine] = outcomes_inside(index, starts, self.window, split, crypto)
        return inside

    def episodes(self, rows: NDArray[np.bool_]) -> list[Rows]:
        """Return the episodes: table rows of consecutive, non-overlapping windows of one asset.

        Parameters
        ----------
        rows : ndarray of bool of shape (N,)
            Which windows may be used, such as ``inside("fit")``.
        """
        chains: list[list[int]] = []
        last: dict[tuple[int, int], list[int]] = {}
        for row in np.flatnonzero(rows).tolist():
            asset, start = self.windows[row].tolist()
            chain = last.pop((asset, start - self.window), None)
            if chain is None:
                chain = []
                chains.append(chain)
            chain.append(row)
            last[asset, start] = chain
        return [np.array(chain, dtype=np.int64) for chain in chains]

    def dates(self, rows: Rows) -> list[tuple[str, pd.Timestamp, pd.Timestamp]]:
        """Return class, first and last day on which the windows of these rows earn, by asset."""
        spans = []
        for asset in np.unique(self.windows[rows, 0]).tolist():
            index = self.assets[self.symbols[asset]].index
            starts = self.windows[rows, 1][self.windows[rows, 0] == asset]
            first, last = index[int(starts.min()) + 1], index[int(starts.max()) + self.window]
            spans.append((asset_class(index), first, last))
        return spans

    def blend(self, rows: Rows, weights: Array, rules: Rows) -> Outcomes:
        """Return what blends of rules earn, simulated exactly, in windows of the table.

        Parameters
        ----------
        rows : ndarray of int of shape (M,)
        weights : ndarray of shape (M, K)
            Shares of the capital.
        rules : ndarray of int of shape (M, K)
            Columns of the table: each expert's rule.
        """
        parts = []
        for asset in np.unique(self.windows[rows, 0]).tolist():
            mine = np.flatnonzero(self.windows[rows, 0] == asset)
            bars = self.assets[self.symbols[asset]]
            targets = RuleTargets(bars, self.pool)
            starts = self.windows[rows[mine], 1]
            raw = np.zeros((len(mine), self.window))
            for column, name in enumerate(self.rules):
                share = np.where(rules[mine] == column, weights[mine], 0.0).sum(axis=1)
                held = np.flatnonzero(share)
                raw[held] += share[held, None] * targets(name, starts[held], self.window)
            prices = Prices(bars, starts, self.window)
            parts.append((mine, outcomes(prices, np.clip(raw, -1.0, 1.0), self.costs)))
        order = np.argsort(np.concatenate([mine for mine, _ in parts]))
        columns = zip(*(part for _, part in parts), strict=True)
        return Outcomes(*(np.concatenate(column)[order] for column in columns))


def build_oracle(
    assets: Mapping[str, pd.DataFrame],
    pool: Mapping[str, Rule] = POOL,
    costs: Costs | None = None,
    window: int = WINDOW,
    lookback: int = LOOKBACK,
    stride: int = STRIDE,
    folder: str | Path | None = None,
    progress: bool = False,
) -> Oracle:
    """Return the oracle for these assets, from disk if a sound table lies there.

    Parameters
    ----------
    assets : mapping of str to DataFrame of shape (T, 5)
        Validated bars; those too short for a window add none.
    pool : mapping of str to Rule
    costs : Costs, optional
        None are the paper's.
    window, lookback, stride : int
        Bars of a window, of an observation, and by which first windows are moved.
    folder : path, optional
        Where tables are kept; ``oracle`` in the user's cache folder (``$MMDREX_CACHE``) by default.
    progress : bool

    Raises
    ------
    ValueError
        If no asset has a whole window.
    """
    paid = costs or Costs()
    key = oracle_digest(assets, pool, paid, window, lookback, stride)
    path = (Path(folder) if folder else default_folder() / "oracle") / key
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{key}.lock")):
        tables = read_table(path)
        if tables is None:
            starts = _starts(assets, window, lookback, stride)
            settings = {"window": window, "lookback": lookback, "stride": stride}
            with replacing(path) as aside:
                aside.mkdir()
                write_table(aside, assets, starts, pool, paid, settings, progress)
            tables = read_table(path)
    if tables is None:
        raise OSError(f"the oracle written to {path} can't be read back; is the disk sound?")
    return Oracle(dict(assets), dict(pool), paid, window, lookback, stride, **tables)


def _starts(
    assets: Mapping[str, pd.DataFrame], window: int, lookback: int, stride: int
) -> list[Rows]:
    """Return the windows of every asset; refuse assets that are all too short."""
    starts = [
        window_starts(pd.DatetimeIndex(bars.index), window, lookback, stride)
        for bars in assets.values()
    ]
    if not sum(len(rows) for rows in starts):
        raise ValueError(
            f"no asset has the {first_decision(lookback) + 1 + window} bars that one window of "
            f"{window} after a look-back of {lookback} needs; load more history"
        )
    return starts
