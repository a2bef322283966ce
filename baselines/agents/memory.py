"""Notes an agent keeps of one asset, in SQLite, found again by meaning."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

import numpy as np

from baselines.agents.embedding import Embedder, Vectors

_SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY,
    asset TEXT NOT NULL,
    kind TEXT NOT NULL,
    bar INTEGER NOT NULL,  -- known after the close of this bar
    text TEXT NOT NULL,
    vector BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_kind ON notes (asset, kind);
"""


class Note(NamedTuple):
    """One note and the bar it was written on."""

    bar: int
    text: str


class Notes:
    """The notes on one asset; what an earlier run wrote about it is dropped.

    A run writes its memory anew, from the replies in the ledger: the memory never knows more than
    the decisions before it.

    Parameters
    ----------
    asset : str
    embed : Embedder
    path : str, optional
        SQLite file to look into afterwards; None keeps the notes in memory.
    """

    def __init__(self, asset: str, embed: Embedder, path: str | None = None) -> None:
        self._asset, self._embed = asset, embed
        self._database = opened(path, _SCHEMA)
        self._database.execute("DELETE FROM notes WHERE asset = ?", (asset,))

    def add(self, kind: str, bar: int, text: str) -> None:
        """Keep a note."""
        vector = self._embed([text])[0]
        self._database.execute(
            "INSERT INTO notes (asset, kind, bar, text, vector) VALUES (?, ?, ?, ?, ?)",
            (self._asset, kind, bar, text, vector.tobytes()),
        )

    def search(self, kind: str, query: str, top: int = 5) -> list[Note]:
        """Return the notes of a kind nearest to the query, the nearest first, the later on ties."""
        rows = self._database.execute(
            "SELECT bar, text, vector FROM notes WHERE asset = ? AND kind = ? ORDER BY id DESC",
            (self._asset, kind),
        ).fetchall()
        if not rows:
            return []
        likeness = similarity([row[2] for row in rows], self._embed([query])[0])
        order = np.argsort(-likeness, kind="stable")[:top]
        return [Note(*rows[i][:2]) for i in order]


def opened(path: str | Path | None, schema: str) -> sqlite3.Connection:
    """Return an SQLite database with the tables of ``schema``; None keeps it in memory.

    Raises
    ------
    ValueError
        If the file can't be used.
    """
    try:
        database = sqlite3.connect(path or ":memory:", isolation_level=None)
        database.executescript(schema)
    except sqlite3.DatabaseError as error:
        raise ValueError(f"memory {path} can't be used ({error}); name a new file") from None
    return database


def similarity(vectors: list[bytes], query: Vectors) -> Vectors:
    """Return the cosine of stored unit vectors with a query of shape (dimension,)."""
    stored = np.frombuffer(b"".join(vectors), np.float32).reshape(len(vectors), -1)
    likeness: Vectors = stored @ query
    return likeness
