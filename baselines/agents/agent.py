"""A baseline that asks a language model once a day, and what it leaves behind."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self, get_type_hints

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError
from tqdm.auto import tqdm

from baselines.agents.market import Market
from baselines.baseline import Array, Baseline
from mmdrex.data.windows import first_decision
from mmdrex.errors import NoReplyError
from mmdrex.llm import LLM, Budget
from mmdrex.llm.backends import NOTHING_KNOWN

log = logging.getLogger(__name__)

COLUMNS = ("time", "symbol", "action", "target", "reason", "failure", "stamp")


class Verdict(NamedTuple):
    """What an agent decided on one day."""

    action: str
    target: float
    reason: str


@dataclass
class Agent(Baseline):
    """A baseline that asks a language model after every close.

    Every call goes through the ledger, so a run that was killed and is started again decides the
    same and pays only for what is missing. A day without a usable reply keeps the position and is
    recorded as such.

    Attributes
    ----------
    journal : DataFrame
        One row per day of the last call of ``targets``: action, target, reason, failure, and the
        stamp that says whether the model may have known the outcome.
    progress : bool
        Whether ``targets`` shows a progress bar.

    Parameters
    ----------
    llm : str
        See ``mmdrex.llm.BACKENDS``; ``"tiny"`` is the embedded model, which knows nothing.
    llm_settings : dict
        Of the backend: ``cutoff``, ``base_url``, ``price``, ``temperature``, ``timeout``, ...
    ledger : str, optional
        SQLite file of all calls; None keeps them in memory.
    calls, tokens, money : optional
        Limits of one run; BudgetError ends it, with what was answered kept.
    anonymous : bool
        No symbol, no dates, rescaled prices: a model can't recognise what it remembers.
    start : str, optional
        No day before it is decided on; else the first bar with warm indicators.
    every : int
        Decide on every so many bars and hold between them: a fifth of the cost at 5.
    seed : int
    """

    later = ("llm_settings", "ledger", "calls", "tokens", "money", "start", "every")

    llm: str = "tiny"
    llm_settings: dict[str, Any] = field(default_factory=dict)
    ledger: str | None = None
    calls: int | None = None
    tokens: int | None = None
    money: float | None = None
    anonymous: bool = False
    start: str | None = None
    every: int = 1
    seed: int = 42

    def __post_init__(self) -> None:
        # Several settings may be None, which the check of the other baselines does not know.
        kinds = get_type_hints(type(self))
        for one in fields(self):
            value = getattr(self, one.name)
            try:
                TypeAdapter(kinds[one.name]).validate_python(value, strict=True)
            except ValidationError:
                raise TypeError(
                    f"{self.name}: {one.name} must be of type {one.type}, not {value!r}"
                ) from None
            if type(value) is int and value < (one.name not in ("seed", "warmup")):
                raise ValueError(f"{self.name}: {one.name} must be positive, not {value}")
        if self.start is not None:
            pd.Timestamp(self.start)  # its message names what is no date
        if "api_key" in self.llm_settings:
            raise ValueError("a key does not belong into settings: put it into $OPENAI_API_KEY")
        self._model: LLM | None = None
        self.progress = False
        self.journal = pd.DataFrame(columns=list(COLUMNS))

    def changed(self, **settings: Any) -> Self:
        """Return the agent with some settings replaced; those of the backend are added."""
        if "llm_settings" in settings:
            settings["llm_settings"] = {**self.llm_settings, **settings["llm_settings"]}
        changed = super().changed(**settings)
        if settings.keys() & {"llm", "llm_settings", "ledger", "calls", "tokens", "money"}:
            changed._model = None
        return changed

    def using(self, model: LLM) -> Self:
        """Return the baseline itself, asking this model instead of ``llm``."""
        self._model = model
        return self

    @property
    def model(self) -> LLM:
        """The language model, opened on first use."""
        if self._model is None:
            self._model = LLM.open(
                _located(self.llm),
                ledger=self.ledger,
                budget=Budget(self.calls, self.tokens, self.money),
                **self.llm_settings,
            )
        return self._model

    def decide(self, bars: pd.DataFrame) -> Array:
        """Return the targets (T,), 0 before the first decision; fills ``journal``."""
        if self.learns:
            self.require_fitted()
        target = np.zeros(len(bars))
        self.journal = pd.DataFrame(columns=list(COLUMNS))
        if len(bars) <= first_decision():
            return target
        market = Market(bars, self.anonymous)
        first = self.first_bar(market)
        position, record = 0.0, []
        days = self.days(market, first)
        try:
            for t in tqdm(range(first, len(bars)), self.name, disable=not self.progress):
                if (t - first) % self.every == 0:
                    verdict, failure = self._verdict(days, t, position)
                    position = verdict.target
                    stamp = self.model.stamp(market.index[t], market.index[t])
                    record.append((market.index[t], market.symbol, *verdict, failure, stamp))
                target[t] = position
        finally:
            self.journal = pd.DataFrame(record, columns=list(COLUMNS))
        self._report()
        return target

    def stamps(self) -> dict[str, str | None]:
        """Return that there was no news, and what the model may know."""
        # Paper: FinAgent, FinMem and LLMoE read news; prices come without.
        cutoff = self.model.backend.cutoff
        if cutoff == NOTHING_KNOWN:
            return {"NO NEWS": None, "MODEL KNOWS NOTHING": None}
        last = pd.Timestamp.max if cutoff is None else cutoff
        return {"NO NEWS": None, self.model.stamp(last, last): f"{last:%Y-%m-%d}"}

    def first_bar(self, market: Market) -> int:
        """Return the first bar decided on: warm, and not before ``start``."""
        first = first_decision()
        if self.start is not None:
            first = max(first, int(market.index.searchsorted(pd.Timestamp(self.start))))
        return first

    @abstractmethod
    def days(self, market: Market, first: int) -> Days:
        """Return what decides day by day, with a memory of its own."""

    def _verdict(self, days: Days, t: int, position: float) -> tuple[Verdict, str]:
        try:
            return days.decide(t, position), ""
        except NoReplyError as error:
            log.warning("%s: held, %s", self.name, error)
            held = Verdict("HOLD", position, "held: there was no usable reply")
            days.missed(t, position)
            return held, str(error)

    def _report(self) -> None:
        failures = int((self.journal["failure"] != "").sum())
        if failures:
            log.warning(
                "%s held on %d of %d days for want of a usable reply; see the journal. "
                "Ledger.forget_failures, or --ask-again, has them asked anew",
                self.name,
                failures,
                len(self.journal),
            )
        stamps = sorted(set(self.journal["stamp"]) - {""})
        if stamps:
            log.warning("%s: %s", self.name, "; ".join(stamps))


class Days(ABC):
    """One run over one asset, asked in order of time."""

    @abstractmethod
    def decide(self, t: int, position: float) -> Verdict:
        """Return the verdict after the close of bar t, from rows <= t.

        Raises
        ------
        NoReplyError
            If there was no usable reply.
        """

    @abstractmethod
    def missed(self, t: int, position: float) -> None:
        """Take note of a day that was held for want of a reply."""


def _located(name: str) -> str:
    """Return the model's name, with its folder where it is the embedded one."""
    if name != "tiny":
        return name
    from mmdrex.router.backbone import BACKBONES

    return f"tiny:{BACKBONES['tiny'].path}"
