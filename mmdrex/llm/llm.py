"""Asking a language model: cache, budget, retries, records."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mmdrex.errors import LLMError, NoReplyError
from mmdrex.llm.answers import REPLY_LIMIT, AnswerError, Form, parse
from mmdrex.llm.backends import Backend, BusyError, RefusedError, open_backend
from mmdrex.llm.budget import Budget
from mmdrex.llm.ledger import Ledger
from mmdrex.llm.request import Message, Reply, Request, clean

log = logging.getLogger(__name__)

QUOTED = 1_500  # characters of a bad reply that are shown to the model again
LONGEST_WAIT = 60.0  # seconds


class LLM:
    """A language model whose every call is recorded.

    The same question to the same model is answered from the ledger: a second run costs nothing,
    works offline and decides the same. That holds for questions that ended without a usable reply
    too (``Ledger.forget_failures`` asks them anew).

    Parameters
    ----------
    backend : Backend
    ledger : Ledger, optional
        In memory where none is given.
    budget : Budget, optional
    attempts : int
        Calls per question while the server is busy or out of reach.
    corrections : int
        How often a reply that does not fit is sent back with what is wrong.
    wait : float
        Seconds before the second attempt, doubled for each one after; a server's own wish counts,
        up to a minute.
    """

    def __init__(
        self,
        backend: Backend,
        ledger: Ledger | None = None,
        budget: Budget | None = None,
        attempts: int = 4,
        corrections: int = 2,
        wait: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if attempts < 1 or corrections < 0:
            raise ValueError(
                f"attempts must be at least 1 and corrections 0; got {attempts}, {corrections}"
            )
        self.backend = backend
        self.ledger = ledger or Ledger()
        self.budget = budget or Budget()
        self.budget.check_priced(backend.priced)
        self.attempts = attempts
        self.corrections = corrections
        self.wait = wait
        self._sleep = sleep

    @classmethod
    def open(
        cls,
        name: str,
        *,
        ledger: str | Path | None = None,
        budget: Budget | None = None,
        **settings: Any,
    ) -> LLM:
        """Return the model of a name: ``openai:<model>``, ``hf:<folder>``, ``replay:<file>``, ...

        Parameters
        ----------
        name : str
            See ``mmdrex.llm.BACKENDS``.
        ledger : path, optional
            SQLite file of all calls.
        budget : Budget, optional
        **settings
            ``attempts``, ``corrections`` and ``wait`` of this class; the others are the backend's:
            ``cutoff``, ``price``, ``base_url``, ``temperature``, ``timeout``, ...
        """
        own = {k: settings.pop(k) for k in ("attempts", "corrections", "wait") if k in settings}
        return cls(open_backend(name, **settings), Ledger(ledger), budget, **own)

    def ask(self, request: Request) -> Any:
        """Return the answer, an instance of ``request.form``.

        Raises
        ------
        NoReplyError
            If the last retry brought no usable reply; the ledger has every attempt.
        BudgetError
            If a limit is reached.
        LLMError
            If no question can be answered: a wrong key, an unknown model.
        """
        for correction in range(self.corrections + 1):
            reply = self._reply(request)
            try:
                return self._parsed(reply, request.form)
            except AnswerError as error:
                log.info("%s: unusable reply %d: %s", request.task, correction + 1, error)
                reason = str(error)
                request = _corrected(request, reply.text, f"{reason} (try {correction + 1})")
        raise NoReplyError(
            f"{request.task}: no usable reply in {self.corrections + 1} tries; the last: {reason}"
        )

    def _parsed(self, reply: Reply, form: type[Form]) -> Form:
        return parse(reply.text, form)

    def _reply(self, request: Request) -> Reply:
        """Return the reply from the ledger or the model."""
        key = hashlib.blake2b(
            f"{self.backend.identity}\n{request.digest}".encode(), digest_size=16
        ).hexdigest()
        known = self.ledger.outcome(key)
        if known is not None:
            if known.reply is None:
                raise NoReplyError(f"{request.task}: {known.error}")
            return known.reply
        for attempt in range(1, self.attempts + 1):
            self.budget.check()
            start = time.monotonic()
            reply, wait, final = None, 0.0, attempt == self.attempts
            try:
                reply = _cut(self.backend.reply(request))
            except BusyError as error:
                reason, wait = str(error), error.wait or self.wait * 2 ** (attempt - 1)
            except RefusedError as error:
                reason, final = str(error), True
            except LLMError as error:
                seconds = time.monotonic() - start
                self.ledger.record(
                    key, request, self.backend.model, seconds, error=str(error), final=False
                )
                raise
            finally:
                self.budget.count(reply)
            seconds = time.monotonic() - start
            if reply is not None:
                self.ledger.record(key, request, self.backend.model, seconds, reply)
                return reply
            self.ledger.record(key, request, self.backend.model, seconds, error=reason, final=final)
            if final:
                break
            log.warning("%s: %s; trying again", request.task, reason)
            self._sleep(min(wait, LONGEST_WAIT))
        raise NoReplyError(f"{request.task}: {reason}")

    def stamp(self, first: pd.Timestamp, last: pd.Timestamp) -> str:
        """Return what a figure over these days must say about the model's knowledge, or "".

        A model may remember what happened before its knowledge cut-off: decisions there prove
        nothing.

        Examples
        --------
        >>> from mmdrex.llm.replay import Replay
        >>> llm = LLM(Replay({}, cutoff="2023-12-01"))
        >>> llm.stamp(pd.Timestamp("2023-06-01"), pd.Timestamp("2024-06-01"))
        'MODEL MAY KNOW THE OUTCOME (cut-off 2023-12-01)'
        >>> llm.stamp(pd.Timestamp("2024-01-02"), pd.Timestamp("2024-06-01"))
        ''
        """
        cutoff = self.backend.cutoff
        if cutoff is None:
            return "MODEL MAY KNOW THE OUTCOME (cut-off unknown)"
        if first > cutoff:
            return ""
        return f"MODEL MAY KNOW THE OUTCOME (cut-off {cutoff:%Y-%m-%d})"


def _cut(reply: Reply) -> Reply:
    """Return the reply as the ledger keeps it: one character too long stays too long."""
    return reply._replace(text=clean(reply.text[: REPLY_LIMIT + 1]))


def _corrected(request: Request, reply: str, reason: str) -> Request:
    """Return the question again, with the reply that did not fit and what was wrong."""
    again = (
        f"That reply can't be used: {reason}. Reply again, with one JSON object of the form asked "
        "for and nothing else."
    )
    shown = reply if len(reply) <= QUOTED else reply[:QUOTED] + " [cut]"
    turns = (Message("assistant", shown), Message("user", again))
    # Of several bad replies only the last is shown: a conversation must not grow without end.
    asked = tuple(m for m in request.messages if m.role != "assistant")[:2]
    return Request(request.task, (*asked, *turns), request.form)
