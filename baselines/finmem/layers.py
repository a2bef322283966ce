"""FinMem's layered memory: notes that fade, rise and are judged by what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from baselines.agents.embedding import Embedder
from baselines.agents.memory import opened, similarity

FORGOTTEN_RECENCY, FORGOTTEN_IMPORTANCE = 0.05, 5.0
FEEDBACK = 5.0  # importance won or lost by a note whose decision was right or wrong
MOST_IMPORTANT = 100.0  # Paper silent: a bound; the score divides by 100


class Layer(NamedTuple):
    """How a layer forgets, what its notes are worth at first, and when they rise."""

    q: float  # Q: recency is exp(-days / Q)
    decay: float  # of the importance, per day
    values: tuple[float, float, float]  # initial importance, drawn with the odds
    odds: tuple[float, float, float]
    promoted_at: float | None  # importance
    promoted_to: str | None


LAYERS = {
    "short": Layer(3.0, 0.92, (50.0, 70.0, 90.0), (0.5, 0.45, 0.05), 60.0, "mid"),
    "mid": Layer(90.0, 0.967, (40.0, 60.0, 80.0), (0.05, 0.8, 0.15), 80.0, "long"),
    "long": Layer(365.0, 0.988, (40.0, 60.0, 80.0), (0.05, 0.15, 0.8), None, None),
    "reflection": Layer(365.0, 0.988, (40.0, 60.0, 80.0), (0.05, 0.15, 0.8), None, None),
}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: decisions cite it
    asset TEXT NOT NULL,
    layer TEXT NOT NULL,
    days REAL NOT NULL,  -- trading days in this layer
    importance REAL NOT NULL,
    text TEXT NOT NULL,
    vector BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_layer ON notes (asset, layer);
"""


class Memory(NamedTuple):
    """A note as the prompt shows it, and why it was found."""

    id: int
    text: str
    score: float


class Layers:
    """The memory of all assets, one SQLite database.

    Parameters
    ----------
    embed : Embedder
    path : path, optional
        None keeps it in memory.
    seed : int
        Of the initial importance.
    """

    def __init__(self, embed: Embedder, path: str | Path | None = None, seed: int = 42) -> None:
        self._embed, self._seed = embed, seed
        self._database = opened(path, _SCHEMA)

    def copied(self, path: str | Path | None = None) -> Layers:
        """Return a copy in memory, or in a file that is replaced."""
        if path is not None:
            Path(path).unlink(missing_ok=True)
        copy = Layers(self._embed, path, self._seed)
        self._database.backup(copy._database)
        return copy

    def add(self, asset: str, layer: str, text: str) -> int:
        """Keep a note and return its id; its importance is drawn from the layer's odds."""
        last = self._database.execute("SELECT MAX(seq) FROM sqlite_sequence").fetchone()[0] or 0
        rng = np.random.default_rng([self._seed, last])
        importance = float(rng.choice(LAYERS[layer].values, p=LAYERS[layer].odds))
        row = (asset, layer, 0.0, importance, text, self._embed([text])[0].tobytes())
        written = self._database.execute(
            "INSERT INTO notes (asset, layer, days, importance, text, vector) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
        return int(written.lastrowid or 0)

    def age(self, asset: str) -> None:
        """Let a trading day pass: notes fade, are forgotten, or rise to the next layer."""
        for name, layer in LAYERS.items():
            self._database.execute(
                "UPDATE notes SET days = days + 1, importance = importance * ? "
                "WHERE asset = ? AND layer = ?",
                (layer.decay, asset, name),
            )
            oldest = -layer.q * float(np.log(FORGOTTEN_RECENCY))
            self._database.execute(
                "DELETE FROM notes WHERE asset = ? AND layer = ? AND (days > ? OR importance < ?)",
                (asset, name, oldest, FORGOTTEN_IMPORTANCE),
            )
        for name in ("mid", "short"):  # the higher first: a note rises one layer a day
            layer = LAYERS[name]
            # Paper silent: a promoted note is as recent as a new one.
            self._database.execute(
                "UPDATE notes SET layer = ?, days = 0 "
                "WHERE asset = ? AND layer = ? AND importance >= ?",
                (layer.promoted_to, asset, name, layer.promoted_at),
            )

    def judge(self, ids: list[int], right: bool) -> None:
        """Raise or lower the importance of the notes that a decision cited."""
        self._database.executemany(
            "UPDATE notes SET importance = MIN(?, importance + ?) WHERE id = ?",
            [(MOST_IMPORTANT, FEEDBACK if right else -FEEDBACK, one) for one in ids],
        )

    def search(self, asset: str, layer: str, query: str, top: int = 5) -> list[Memory]:
        """Return the notes of a layer with the highest score, the highest first.

        The score is similarity + recency + importance / 100.
        """
        rows = self._database.execute(
            "SELECT id, text, days, importance, vector FROM notes "
            "WHERE asset = ? AND layer = ? ORDER BY id DESC",
            (asset, layer),
        ).fetchall()
        if not rows:
            return []
        likeness = similarity([row[4] for row in rows], self._embed([query])[0])
        recency = np.exp(-np.array([row[2] for row in rows]) / LAYERS[layer].q)
        scores = likeness + recency + np.array([row[3] for row in rows]) / 100.0
        order = np.argsort(-scores, kind="stable")[:top]
        return [Memory(rows[i][0], rows[i][1], float(scores[i])) for i in order]

    def notes(self, asset: str) -> list[tuple[int, str, float, float, str]]:
        """Return id, layer, days, importance and text of all notes on an asset."""
        return self._database.execute(
            "SELECT id, layer, days, importance, text FROM notes WHERE asset = ? ORDER BY id",
            (asset,),
        ).fetchall()

    def serialized(self) -> bytes:
        """Return the database as the bytes of an SQLite file."""
        return self._database.serialize()

    def close(self) -> None:
        """Close the database."""
        self._database.close()
