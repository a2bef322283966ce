"""FinMem: one question a day over a memory in layers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from baselines.agents.agent import Agent, Days, Verdict
from baselines.agents.book import Book
from baselines.agents.embedding import embedder
from baselines.agents.market import Market
from baselines.agents.prompts import fill
from baselines.baseline import Frames, training_dates
from baselines.finmem.forms import Decision, Explanation
from baselines.finmem.layers import LAYERS, Layers, Memory
from mmdrex.data.windows import first_decision
from mmdrex.errors import NoReplyError
from mmdrex.llm import LLM, Message, Request
from mmdrex.llm.answers import instructions

log = logging.getLogger(__name__)

PACKAGE = "baselines.finmem"
TOP = 5  # notes per layer
JUDGED_AFTER = 7  # days of profit or loss that judge a decision
MONTH, YEAR = 21, 252
MEMORY = "memory.sqlite"


@dataclass
class FinMem(Agent):
    """Long after buy, short after sell, as before after hold (FinMem, arXiv 2311.13743).

    ``fit`` is the warm-up: it walks the last bars of the training period with the next day's
    outcome at hand and fills the memory; ``targets`` decides on later bars only. Without ``fit``
    the memory starts empty. Our data have no news: the technical summary takes its place.

    Parameters
    ----------
    embedder : str
        ``"hashing"``, or ``"sentences:<folder or hub id>"`` of a sentence-transformers model.
    warmup : int
        Days of the warm-up per asset, one call each.
    memory : str, optional
        SQLite file to look into afterwards; every run writes it anew.
    """

    name = "finmem"

    embedder: str = "hashing"
    warmup: int = 250
    memory: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._warm: Layers | None = None
        self._ends: dict[str, str] = {}

    def fit(self, train: Frames, select: Frames) -> Self:
        """Fill the memory from the last ``warmup`` days of the training period.

        ``select`` ends the training period; an outcome never lies beyond its last bar.
        """
        layers = Layers(embedder(self.embedder), None, self.seed)
        self._ends = {}
        for symbol, bars in {**train, **select}.items():
            market = Market(bars, self.anonymous, symbol)
            last = len(market) - 1
            first = max(first_decision(), last - self.warmup)
            days = _Days(self.model, market, layers, first)
            for t in range(first, last):
                days.learn(t)
            self._ends[symbol] = market.index[last].isoformat()
        self._warm = layers
        self.trained = training_dates(train, select)
        return self

    def first_bar(self, market: Market) -> int:
        """Return the first bar decided on: warm, not before ``start``, after the warm-up."""
        first = super().first_bar(market)
        end = self._ends.get(market.symbol)
        if end is None:
            return first
        return max(first, int(market.index.searchsorted(pd.Timestamp(end), side="right")))

    def days(self, market: Market, first: int) -> Days:
        """Return a run on a copy of the warm memory."""
        if self._warm is None or market.symbol not in self._ends:
            log.warning("finmem has no warm-up for %s: its memory starts empty", market.symbol)
        warm = self._warm or Layers(embedder(self.embedder), None, self.seed)
        return _Days(self.model, market, warm.copied(self.memory), first)

    def learned(self) -> dict[str, Any]:
        """Return the last day of each asset's warm-up."""
        return {"ends": self._ends}

    def files(self) -> dict[str, bytes]:
        """Return the warm memory, an SQLite file."""
        return {} if self._warm is None else {MEMORY: self._warm.serialized()}

    def restore(self, learned: dict[str, Any], folder: Path) -> None:
        """Take the warm memory back."""
        self._ends = dict(learned["ends"])
        stored = Layers(embedder(self.embedder), folder / MEMORY, self.seed)
        self._warm = stored.copied()
        stored.close()


class _Days(Days):
    """FinMem's run over one asset."""

    def __init__(self, llm: LLM, market: Market, layers: Layers, first: int) -> None:
        self._llm, self._market, self._layers = llm, market, layers
        self._book = Book(market.table, first)
        self._first = first
        self._seen = first - 1  # the last bar the memory has taken in
        self._cited: dict[int, tuple[float, list[int]]] = {}  # bar: direction, notes

    def decide(self, t: int, position: float) -> Verdict:
        """Ask for the decision of one day and keep its reason as a reflection."""
        self._book.advance(t)
        self._take_in(t)
        found = self._found(t)
        reply: Decision = self._ask(
            "decision",
            Decision,
            t,
            found,
            changes=self._market.changes(t),
            account=self._book.text(),
        )
        target = {"buy": 1.0, "sell": -1.0}.get(reply.decision, position)
        self._keep(t, f"{reply.decision}: {reply.reason}", target, reply.memories, found)
        self._book.target = target
        return Verdict(reply.decision.upper(), target, reply.reason)

    def missed(self, t: int, position: float) -> None:
        """Nothing was said: nothing is remembered."""

    def learn(self, t: int) -> None:
        """Explain the outcome of day t, known at the close of t + 1 (the warm-up)."""
        self._take_in(t)
        found = self._found(t)
        change = float(self._market.close[t + 1] / self._market.close[t] - 1.0)
        try:
            reply: Explanation = self._ask(
                "warm_up", Explanation, t, found, outcome=f"{change:+.2%}"
            )
        except NoReplyError as error:
            log.warning("finmem: nothing learned, %s", error)
            return
        direction = 1.0 if change > 0.0 else -1.0
        self._keep(t, f"then {change:+.2%}: {reply.reason}", direction, reply.memories, found)

    def _take_in(self, t: int) -> None:
        """Age the memory to bar t, judge the decisions that are due, note what is new."""
        name, market = self._market.symbol, self._market
        for bar in range(self._seen + 1, t + 1):
            self._layers.age(name)
            self._judge(bar)
            if bar > self._first:  # today's facts stand in the prompt itself
                facts = " ".join(market.facts(bar - 1))
                self._layers.add(name, "short", f"{market.date(bar - 1)}: {facts}")
            # Paper silent: without quarterly and annual reports, what the month and the year
            # before brought goes into the slower layers.
            if bar % MONTH == 0:
                self._layers.add(name, "mid", self._period(bar, MONTH, "month"))
            if bar % YEAR == 0 and bar >= YEAR:
                self._layers.add(name, "long", self._period(bar, YEAR, "year"))
        self._seen = t

    def _judge(self, bar: int) -> None:
        """Reward or punish the notes behind the decision made ``JUDGED_AFTER`` bars ago."""
        direction, notes = self._cited.pop(bar - JUDGED_AFTER, (0.0, []))
        earned = direction * self._market.change(bar, JUDGED_AFTER)
        if notes and earned != 0.0:
            self._layers.judge(notes, earned > 0.0)

    def _period(self, t: int, bars: int, name: str) -> str:
        window = self._market.close[t - bars : t + 1]
        high, low, last = float(window.max()), float(window.min()), float(window[-1])
        return (
            f"{self._market.date(t)}: over the last {name} the price changed "
            f"{self._market.change(t, bars):+.1%}; it ends {last / high - 1.0:.1%} from the high "
            f"and {last / low - 1.0:+.1%} from the low"
        )

    def _found(self, t: int) -> dict[str, list[Memory]]:
        query = " ".join(self._market.facts(t))
        return {
            layer: self._layers.search(self._market.symbol, layer, query, TOP) for layer in LAYERS
        }

    def _keep(
        self, t: int, text: str, direction: float, cited: list[int], found: dict[str, list[Memory]]
    ) -> None:
        """Remember the reflection and, for the verdict to come, the notes that were cited.

        Numbers of notes that were not shown are passed over.
        """
        shown = {memory.id for memories in found.values() for memory in memories}
        self._cited[t] = (direction, sorted(shown & set(cited)))
        self._layers.add(self._market.symbol, "reflection", f"{self._market.date(t)}: {text}")

    def _ask(
        self, task: str, form: Any, t: int, found: dict[str, list[Memory]], **values: str
    ) -> Any:
        market = self._market
        character = fill(PACKAGE, "seeking" if self._book.value >= 1.0 else "averse")
        notes = {
            layer: "\n".join(f"[{m.id}] {m.text}" for m in memories) or "(none)"
            for layer, memories in found.items()
        }
        text = fill(
            PACKAGE,
            task,
            date=market.date(t),
            facts="\n".join(market.facts(t)),
            form=instructions(form),
            **notes,
            **values,
        )
        persona = fill(PACKAGE, "persona", name=market.name, character=character)
        messages = (Message("system", persona), Message("user", text))
        return self._llm.ask(Request(f"finmem.{task}", messages, form))
