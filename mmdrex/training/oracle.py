"""The reward oracle: what every rule earns in every window, simulated once, then looked up.

All rules on every (asset, window start) are columns of vectorbt's ``Portfolio.from_orders``, tens
of thousands a call. The table is a folder of memory-mapped arrays named by a digest of bars, rules,
window and costs: built once, shared by processes, built again when damaged. What training asks of
it is a look-up; a blend of rules is simulated exactly.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from tqdm.auto import tqdm

from mmdrex.data.bars import periods_per_year
from mmdrex.data.costs import Costs
from mmdrex.data.files import replacing
from mmdrex.data.splits import outcomes_inside
from mmdrex.data.windows import LOOKBACK, WINDOW, first_decision
from mmdrex.router.cache import default_folder, digest
from mmdrex.training.windows import Outcomes, Prices, RuleTargets, outcomes
from strategies import POOL
from strategies.rule import Rule

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

VERSION = "1"  # of what the table holds; a change makes tables on disk strangers
STRIDE = 16  # Paper silent: its counts imply about 16 bars between window starts
BATCH = 4096  # columns per simulation: more leave the processor's cache
FIGURES = ("total", "excess", "sharpe", "drawdown", "mean_target")
FILES = ("windows", "figures", "returns")


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

    def dates(self, rows: Rows) -> tuple[str, str]:
        """Return the first and the last day on which the windows of these rows earn."""
        first, last = [], []
        for asset in np.unique(self.windows[rows, 0]).tolist():
            index = self.assets[self.symbols[asset]].index
            starts = self.windows[rows, 1][self.windows[rows, 0] == asset]
            first.append(index[int(starts.min()) + 1])
            last.append(index[int(starts.max()) + self.window])
        return f"{min(first):%Y-%m-%d}", f"{max(last):%Y-%m-%d}"

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
        tables = _read(path)
        if tables is None:
            with replacing(path) as aside:
                aside.mkdir()
                _write(aside, assets, pool, paid, window, lookback, stride, progress)
            tables = _read(path)
    if tables is None:
        raise OSError(f"the oracle written to {path} can't be read back; is the disk sound?")
    return Oracle(dict(assets), dict(pool), paid, window, lookback, stride, **tables)


def oracle_digest(
    assets: Mapping[str, pd.DataFrame],
    pool: Mapping[str, Rule],
    costs: Costs,
    window: int,
    lookback: int,
    stride: int,
) -> str:
    """Return the hex digest of all that determines the table, the rules' code included."""
    parts: list[str | bytes] = [VERSION, repr((*costs, window, lookback, stride))]
    for symbol, bars in assets.items():
        parts += [symbol, pd.DatetimeIndex(bars.index).to_numpy("datetime64[ns]").tobytes()]
        parts += [bars[name].to_numpy(np.float64).tobytes() for name in bars.columns]
    for name, rule in pool.items():
        parts += [name, repr(rule.params), _source(rule)]
    return digest(*parts)


def _source(rule: Rule) -> bytes:
    """Return the text of the folder of modules that the rule comes from."""
    own = Path(rule.features.__code__.co_filename)
    files = sorted(own.parent.glob("*.py")) if (own.parent / "rule.py").exists() else [own]
    return b"".join(file.read_bytes() for file in files)


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the tables, or None where there are none or they are damaged."""
    try:
        record = json.loads((path / "oracle.json").read_text(encoding="utf-8"))
        for name in FILES:
            if _checksum(path / f"{name}.npy") != record["checksums"][name]:
                log.warning("%s/%s.npy is damaged; the oracle is built again", path, name)
                return None
        return {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in FILES}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        log.warning("%s is damaged (%s); the oracle is built again", path, error)
        return None


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _write(
    folder: Path,
    assets: Mapping[str, pd.DataFrame],
    pool: Mapping[str, Rule],
    costs: Costs,
    window: int,
    lookback: int,
    stride: int,
    progress: bool,
) -> None:
    """Simulate everything, batch by batch, into arrays on disk."""
    starts = [
        window_starts(pd.DatetimeIndex(bars.index), window, lookback, stride)
        for bars in assets.values()
    ]
    numbers = np.repeat(np.arange(len(assets)), [len(rows) for rows in starts])
    windows = np.stack([numbers, np.concatenate(starts)], axis=1)
    count, rules = len(windows), len(pool)
    if not count:
        raise ValueError(
            f"no asset has the {first_decision(lookback) + 1 + window} bars that one window of "
            f"{window} after a look-back of {lookback} needs; load more history"
        )
    np.save(folder / "windows.npy", windows)
    figures = open_memmap(folder / "figures.npy", "w+", np.float64, (len(FIGURES), count, rules))
    returns = open_memmap(folder / "returns.npy", "w+", np.float32, (count, rules, window))
    row = 0
    for prices, raw in tqdm(
        _batches(list(assets.values()), starts, pool, window),
        desc="simulating the rules",
        disable=not progress,
    ):
        earned = outcomes(prices, raw, costs)
        stop = row + len(raw) // rules
        returns[row:stop] = earned.returns.reshape(-1, rules, window)
        for place, name in enumerate(FIGURES):
            figures[place, row:stop] = getattr(earned, name).reshape(-1, rules)
        row = stop
    figures.flush()
    returns.flush()
    record = {
        "version": VERSION,
        "symbols": list(assets),
        "rules": {name: rule.params._asdict() for name, rule in pool.items()},
        "costs": costs._asdict(),
        "settings": {"window": window, "lookback": lookback, "stride": stride},
        "checksums": {name: _checksum(folder / f"{name}.npy") for name in FILES},
    }
    (folder / "oracle.json").write_text(json.dumps(record, indent=2), encoding="utf-8")


def _batches(
    frames: Sequence[pd.DataFrame],
    starts: Sequence[Rows],
    pool: Mapping[str, Rule],
    window: int,
) -> Iterator[tuple[Prices, Array]]:
    """Yield prices and raw targets of columns in the order (window, rule)."""
    held: list[tuple[Prices, Array]] = []
    for bars, rows in zip(frames, starts, strict=True):
        if not len(rows):
            continue
        targets = RuleTargets(bars, pool)
        raw = np.stack([targets(name, rows, window) for name in pool], axis=1)
        held.append((Prices(bars, np.repeat(rows, len(pool)), window), raw.reshape(-1, window)))
        if sum(len(part) for _, part in held) >= BATCH:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(held: Sequence[tuple[Prices, Array]]) -> tuple[Prices, Array]:
    prices, raw = zip(*held, strict=True)
    return Prices.joined(prices), np.concatenate(raw)
