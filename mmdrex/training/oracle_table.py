"""The oracle's table on disk: how it is named, written, checked and read."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from tqdm.auto import tqdm

from mmdrex.data.costs import Costs
from mmdrex.data.files import reserve
from mmdrex.router.cache import digest
from mmdrex.training.assets import contents
from mmdrex.training.windows import Prices, RuleTargets, outcomes
from strategies.rule import Rule

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

VERSION = "1"  # of what the table holds; a change makes tables on disk strangers
BATCH = 4096  # columns per simulation: more leave the processor's cache
FIGURES = ("total", "excess", "sharpe", "drawdown", "mean_target")
FILES = ("windows", "figures", "returns")


def oracle_digest(
    assets: Mapping[str, pd.DataFrame],
    pool: Mapping[str, Rule],
    costs: Costs,
    window: int,
    lookback: int,
    stride: int,
) -> str:
    """Return the hex digest of all that determines the table, the rules' code included."""
    settings = repr((*costs, window, lookback, stride))
    parts: list[str | bytes] = [VERSION, settings, *contents(assets)]
    for name, rule in pool.items():
        parts += [name, repr(rule.params), _source(rule)]
    return digest(*parts)


def _source(rule: Rule) -> bytes:
    """Return the text of the folder that the rule comes from; of a rule of yours its functions'."""
    own = Path(rule.features.__code__.co_filename)
    if (own.parent / "rule.py").exists():
        return b"".join(file.read_bytes() for file in sorted(own.parent.glob("*.py")))
    functions = (getattr(one, "py_func", one) for one in (rule.features, rule.step, rule.scan))
    return "".join(inspect.getsource(one) for one in functions).encode()


def read_table(path: Path) -> dict[str, NDArray[Any]] | None:
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


def write_table(
    folder: Path,
    assets: Mapping[str, pd.DataFrame],
    starts: Sequence[Rows],
    pool: Mapping[str, Rule],
    costs: Costs,
    settings: Mapping[str, int],
    progress: bool,
) -> None:
    """Simulate everything, batch by batch, into arrays on disk; ``settings`` name the window."""
    window = settings["window"]
    numbers = np.repeat(np.arange(len(assets)), [len(rows) for rows in starts])
    windows = np.stack([numbers, np.concatenate(starts)], axis=1)
    count, rules = len(windows), len(pool)
    np.save(folder / "windows.npy", windows)
    figures = open_memmap(folder / "figures.npy", "w+", np.float64, (len(FIGURES), count, rules))
    returns = open_memmap(folder / "returns.npy", "w+", np.float32, (count, rules, window))
    for name in ("figures", "returns"):
        path = folder / f"{name}.npy"
        reserve(path, path.stat().st_size)
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
        "settings": dict(settings),
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
