"""The ledger: every call to a language model, in one SQLite file that also answers repetitions."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mmdrex.llm.request import Reply, Request, clean

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,  -- of backend, settings, conversation and images
    task TEXT NOT NULL,
    model TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('reply', 'failed', 'gave up')),
    prompt TEXT NOT NULL,
    reply TEXT,
    error TEXT,
    prompt_tokens INTEGER,
    reply_tokens INTEGER,
    seconds REAL NOT NULL,
    price REAL,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS by_digest ON calls (digest, outcome);
"""


class Outcome(NamedTuple):
    """How a question ended: with a reply, or with the error after the last attempt."""

    reply: Reply | None
    error: str


class Ledger:
    """Calls in the order they were made, committed one by one: a killed run loses none.

    Parameters
    ----------
    path : path, optional
        An SQLite file, made where missing; None keeps the ledger in memory.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = sqlite3.connect(self.path or ":memory:", isolation_level=None)
            self._database.execute("PRAGMA busy_timeout = 10000")
            self._database.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{path} can't be used as a ledger ({error}); name a new file or one that "
                "mmdrex wrote"
            ) from None

    def outcome(self, digest: str) -> Outcome | None:
        """Return how a question ended before, or None where it was never asked to the end."""
        row = self._database.execute(
            "SELECT outcome, reply, prompt_tokens, reply_tokens, price, error FROM calls "
            "WHERE digest = ? AND outcome != 'failed' ORDER BY outcome = 'reply' DESC, id DESC",
            (digest,),
        ).fetchone()
        if row is None:
            return None
        return Outcome(Reply(*row[1:5]) if row[0] == "reply" else None, row[5] or "")

    def record(
        self,
        digest: str,
        request: Request,
        model: str,
        seconds: float,
        reply: Reply | None = None,
        error: str = "",
        final: bool = True,
    ) -> None:
        """Write one call; ``final`` marks the last attempt of a question."""
        outcome = "reply" if reply is not None else "gave up" if final else "failed"
        self._database.execute(
            "INSERT INTO calls (digest, task, model, outcome, prompt, reply, error, "
            "prompt_tokens, reply_tokens, seconds, price) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(digest, request.task, model, outcome, request.text),
                *(None if reply is None else clean(reply.text), clean(error) or None),
                *((None, None) if reply is None else (reply.prompt_tokens, reply.reply_tokens)),
                *(seconds, None if reply is None else reply.price),
            ),
        )

    def calls(self) -> pd.DataFrame:
        """Return all calls, one row each, in order."""
        return pd.read_sql_query("SELECT * FROM calls ORDER BY id", self._database)

    def total(self) -> dict[str, float]:
        """Return the sums of calls, tokens, seconds and money, failed calls included."""
        row = self._database.execute(
            "SELECT COUNT(*), TOTAL(prompt_tokens) + TOTAL(reply_tokens), TOTAL(seconds), "
            "TOTAL(price) FROM calls"
        ).fetchone()
        return dict(zip(("calls", "tokens", "seconds", "money"), row, strict=True))

    def forget_failures(self) -> int:
        """Drop the questions that ended without a reply, so that they are asked anew.

        Returns
        -------
        int
            How many there were.
        """
        return self._database.execute("DELETE FROM calls WHERE outcome = 'gave up'").rowcount

    def close(self) -> None:
        """Close the file."""
        self._database.close()
