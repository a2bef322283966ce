"""FinAgent: five questions a day, all-in or all-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from baselines.agents.agent import Agent, Days, Verdict
from baselines.agents.book import Book
from baselines.agents.embedding import embedder
from baselines.agents.market import Market
from baselines.agents.memory import Note, Notes
from baselines.agents.prompts import fill
from baselines.finagent.forms import Decision, HighLevel, Intelligence, LowLevel, Past
from baselines.finagent.tools import tools
from mmdrex.llm import LLM, Message, Request
from mmdrex.llm.answers import instructions
from mmdrex.llm.request import Pixels

PACKAGE = "baselines.finagent"
TOP = 5  # notes per query
REVIEWED = 14  # decisions the high-level reflection sees
NOTHING = "(nothing yet)"


@dataclass
class FinAgent(Agent):
    """Long after BUY, in cash after SELL, as before after HOLD (FinAgent, arXiv 2402.18485).

    Our data have no news: the technical summary takes its place, and results must say so.

    Parameters
    ----------
    embedder : str
        ``"hashing"``, or ``"sentences:<folder or hub id>"`` of a sentence-transformers model.
    memory : str, optional
        SQLite file to look into afterwards; every run writes it anew.
    """

    name = "finagent"

    embedder: str = "hashing"
    memory: str | None = None

    def days(self, market: Market, first: int) -> Days:
        """Return a run with an empty memory."""
        notes = Notes(market.symbol, embedder(self.embedder), self.memory)
        return _Days(self.model, market, first, notes)


class _Days(Days):
    """FinAgent's run over one asset."""

    def __init__(self, llm: LLM, market: Market, first: int, notes: Notes) -> None:
        self._llm, self._market, self._notes = llm, market, notes
        self._tools = tools(market.table)
        self._book = Book(market.table, first)
        self._actions: dict[int, str] = {}
        self._persona = fill(PACKAGE, "persona", name=market.name)

    def decide(self, t: int, position: float) -> Verdict:
        """Ask the five questions of one day."""
        self._book.advance(t)
        facts = "\n".join(self._market.facts(t))
        today: Intelligence = self._ask("intelligence", Intelligence, t, facts=facts)
        past = self._past(t, today)
        self._notes.add("intelligence", t, today.summary)
        charts = (self._market.chart(t),)
        low: LowLevel = self._ask(
            "low_level",
            LowLevel,
            t,
            charts,
            changes=self._market.changes(t),
            summary=today.summary,
            past=past,
        )
        explanation = (
            f"short term: {low.short_term}\nmedium term: {low.medium_term}\n"
            f"long term: {low.long_term}"
        )
        explanations = self._found(self._notes.search("low_level", low.query, TOP))
        self._notes.add("low_level", t, explanation)
        review, lessons = self._review(t, explanation)
        decision: Decision = self._ask(
            "decision",
            Decision,
            t,
            summary=today.summary,
            past=past,
            explanation=explanation,
            explanations=explanations,
            review=review,
            lessons=lessons,
            facts=facts,
            tools=self._tools.text(t),
            account=self._book.text(),
        )
        self._actions[t] = decision.action
        target = {"BUY": 1.0, "SELL": 0.0}.get(decision.action, position)
        self._book.target = target
        return Verdict(decision.action, target, decision.reasoning)

    def missed(self, t: int, position: float) -> None:
        """Remember the day as held."""
        self._actions[t] = "HOLD"

    def _past(self, t: int, today: Intelligence) -> str:
        """Return the summary of what three queries find among earlier notes (diversified)."""
        queries = {
            "short": today.short_query,
            "medium": today.medium_query,
            "long": today.long_query,
        }
        found = {
            horizon: self._notes.search("intelligence", query, TOP)
            for horizon, query in queries.items()
        }
        if not any(found.values()):
            return NOTHING
        notes = "\n".join(
            f"[{horizon}]\n{self._found(of_horizon)}" for horizon, of_horizon in found.items()
        )
        past: Past = self._ask("past", Past, t, notes=notes)
        return past.summary

    def _review(self, t: int, explanation: str) -> tuple[str, str]:
        """Return the review of the agent's own decisions and the earlier lessons found."""
        if not self._actions:
            return NOTHING, NOTHING
        high: HighLevel = self._ask(
            "high_level",
            HighLevel,
            t,
            (self._market.trades_chart(t, self._actions),),
            decisions=self._decisions(t),
            explanation=explanation,
        )
        lessons = self._found(self._notes.search("high_level", high.query, TOP))
        self._notes.add("high_level", t, high.lessons)
        right = sum(verdict == "RIGHT" for verdict in high.verdicts)
        judged = f"{right} of {len(high.verdicts)} judged right" if high.verdicts else "no verdict"
        return f"{judged}. {high.improvement}\n{high.lessons}", lessons

    def _decisions(self, t: int) -> str:
        lines = []
        for bar in list(self._actions)[-REVIEWED:]:
            since = self._market.change(t, t - bar)
            lines.append(
                f"{self._market.date(bar)}: {self._actions[bar]}, price since {since:+.2%}"
            )
        return "\n".join(lines)

    def _found(self, notes: list[Note]) -> str:
        return "\n".join(f"- {self._market.date(n.bar)}: {n.text}" for n in notes) or NOTHING

    def _ask(
        self,
        task: str,
        form: type[BaseModel],
        t: int,
        images: tuple[Pixels, ...] = (),
        **values: str,
    ) -> Any:
        text = fill(
            PACKAGE,
            task,
            name=self._market.name,
            date=self._market.date(t),
            form=instructions(form),
            **values,
        )
        messages = (Message("system", self._persona), Message("user", text, images))
        return self._llm.ask(Request(f"finagent.{task}", messages, form))
