"""The kinds of language models, by the part of a name before its colon."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any, Protocol

import pandas as pd

from mmdrex.errors import LLMError
from mmdrex.llm.request import Reply, Request
from strategies.rule import did_you_mean

NOTHING_KNOWN = pd.Timestamp.min  # the cut-off of a model that has read no news at all


class BusyError(RuntimeError):
    """A call that failed and may succeed later; ``wait`` is what the server asked for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class RefusedError(RuntimeError):
    """A request that this model will never answer; another request it may."""


class Backend(Protocol):
    """What a kind of model must offer.

    Attributes
    ----------
    model : str
        What the ledger calls it.
    identity : str
        All that a reply depends on beside the request: model, temperature, seed, ...
    priced : bool
        Whether replies carry a price.
    cutoff : Timestamp or None
        The last day the model can know about; None where nobody said.
    """

    model: str
    identity: str
    priced: bool
    cutoff: pd.Timestamp | None

    def reply(self, request: Request) -> Reply:
        """Return the model's reply.

        Raises
        ------
        BusyError
            If it is worth trying again.
        RefusedError
            If it is not, for this request.
        LLMError
            If no request can succeed: a wrong key, an unknown model.
        """


@dataclass(frozen=True)
class Kind:
    """Where a backend lives; torch and the openai client load when it is opened."""

    module: str
    factory: str
    argument: str  # what stands after the colon


BACKENDS = {
    "openai": Kind("mmdrex.llm.openai_server", "OpenAIServer", "model"),
    "hf": Kind("mmdrex.llm.local_model", "LocalModel", "folder or hub id"),
    "replay": Kind("mmdrex.llm.replay", "Replay", "file"),
    "tiny": Kind("mmdrex.llm.likelihood", "Likelihood", "folder"),
}


def open_backend(name: str, **settings: Any) -> Backend:
    """Return the backend of a name such as ``"openai:gpt-5"``; settings go to its class.

    Raises
    ------
    LLMError
        If there is no such kind, or nothing after the colon.
    """
    kind, _, argument = name.partition(":")
    if kind not in BACKENDS:
        raise LLMError(
            f"no language model {name!r}; choose "
            f"{', '.join(f'{k}:<{v.argument}>' for k, v in BACKENDS.items())}."
            f"{did_you_mean(kind, BACKENDS)}"
        )
    entry = BACKENDS[kind]
    if not argument:
        raise LLMError(f"{name!r} names no {entry.argument}; write {kind}:<{entry.argument}>")
    factory = getattr(import_module(entry.module), entry.factory)
    _, *known = signature(factory).parameters.values()
    names = [one.name for one in known]
    for setting in settings:
        if setting not in names and all(one.kind is not one.VAR_KEYWORD for one in known):
            raise LLMError(
                f"{kind} takes no setting {setting!r}; it takes {', '.join(names)}."
                f"{did_you_mean(setting, names)}"
            )
    try:
        backend: Backend = factory(argument, **settings)
    except TypeError as error:
        raise LLMError(f"{name}: {str(error).split('() ')[-1]}") from error
    return backend


def known_until(cutoff: str | pd.Timestamp | None) -> pd.Timestamp | None:
    """Return a knowledge cut-off as a timestamp."""
    return None if cutoff is None else pd.Timestamp(cutoff)
