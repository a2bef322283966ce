"""LLMoE: a language model picks the expert, the expert picks the side."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel
from safetensors.torch import load_file, save

from baselines.agents.agent import Agent, Days, Verdict
from baselines.agents.market import Market
from baselines.agents.prompts import fill
from baselines.baseline import Frames, outcome_rows, training_dates
from baselines.llmoe.experts import OUTLOOKS, Experts, Samples, trained_experts
from baselines.llmoe.features import daily_figures, description, inputs
from mmdrex.data.windows import first_decision
from mmdrex.errors import NoReplyError
from mmdrex.llm import LLM, Message, Request
from mmdrex.llm.answers import Lower, Text, instructions

log = logging.getLogger(__name__)

PACKAGE = "baselines.llmoe"
WEIGHTS = "experts.safetensors"
FEWEST = 30  # samples an expert needs of its own


class Outlook(BaseModel):
    """The router's choice and its explanation."""

    explanation: Text
    outlook: Annotated[Literal["optimistic", "pessimistic"], Lower]


@dataclass
class LLMoE(Agent):
    """Fully long where the chosen expert expects a higher close, else in cash.

    LLMoE, arXiv 2501.09636. ``fit`` asks the router about days of the training period and trains
    each expert on the days of its outlook. Our data have no headlines: results must say so.

    Parameters
    ----------
    samples : int
        Days the router is asked about in ``fit``, spread evenly over all assets and years; a
        quarter as many of ``select``. One call each.
    hidden : int
        Width of an expert's first hidden layer.
    """

    name = "llmoe"
    learns = True

    samples: int = 500
    hidden: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self._experts: Experts | None = None

    def fit(self, train: Frames, select: Frames) -> Self:
        """Train each expert on the days that the router gives to it."""
        fitted = self._routed(train, {s: np.ones(len(b), bool) for s, b in train.items()}, 1)
        later = {s: outcome_rows(b, train.get(s)) for s, b in select.items()}
        chosen = self._routed(select, later, 4)
        self._experts = trained_experts(
            _enough(fitted, "training"), _enough(chosen, "selection"), self.hidden, self.seed
        )
        self.trained = training_dates(train, select)
        return self

    def _routed(
        self, frames: Frames, outcomes: dict[str, Any], share: int
    ) -> dict[str, tuple[list[Any], list[float]]]:
        """Return inputs and outcomes of evenly spaced days by the outlook the router sees."""
        days = [
            (symbol, t)
            for symbol, bars in frames.items()
            for t in range(first_decision(), len(bars) - 1)
            if outcomes[symbol][t + 1]
        ]
        if not days:
            raise ValueError(
                f"llmoe: no day to learn from; an asset needs {first_decision() + 2} bars"
            )
        count = min(len(days), max(1, self.samples // share))
        runs = {
            s: _Days(self.model, Market(bars, self.anonymous, s), None)
            for s, bars in frames.items()
        }
        routed: dict[str, tuple[list[Any], list[float]]] = {o: ([], []) for o in OUTLOOKS}
        for place in np.linspace(0, len(days) - 1, count).round().astype(int):
            symbol, t = days[place]
            try:
                outlook = runs[symbol].outlook(t).outlook
            except NoReplyError as error:
                log.warning("llmoe: day left out, %s", error)
                continue
            close = runs[symbol].market.close
            routed[outlook][0].append(inputs(runs[symbol].figures, t))
            routed[outlook][1].append(float(close[t + 1] > close[t]))
        return routed

    def days(self, market: Market, first: int) -> Days:
        """Return a run with the trained experts."""
        self.require_fitted()
        return _Days(self.model, market, self._experts)

    def files(self) -> dict[str, bytes]:
        """Return the experts."""
        return {} if self._experts is None else {WEIGHTS: save(self._experts.state_dict())}

    def restore(self, learned: dict[str, Any], folder: Path) -> None:
        """Take the experts back."""
        self._experts = Experts(self.hidden)
        self._experts.load_state_dict(load_file(folder / WEIGHTS))
        self._experts.eval()


class _Days(Days):
    """LLMoE's run over one asset."""

    def __init__(self, llm: LLM, market: Market, experts: Experts | None) -> None:
        self._llm, self.market, self._experts = llm, market, experts
        self.figures = daily_figures(market)

    def decide(self, t: int, position: float) -> Verdict:
        """Ask the router for the outlook and the expert of that outlook for the side."""
        said = self.outlook(t)
        if self._experts is None:
            raise ValueError("llmoe has no experts; call fit first")
        chance = self._experts.chance(inputs(self.figures, t), said.outlook)
        action, target = ("BUY", 1.0) if chance > 0.5 else ("SELL", 0.0)
        reason = f"{said.outlook} expert, chance of a rise {chance:.1%}; {said.explanation}"
        return Verdict(action, target, reason)

    def missed(self, t: int, position: float) -> None:
        """Nothing is remembered from day to day."""

    def outlook(self, t: int) -> Outlook:
        """Return what the router says after the close of bar t."""
        text = fill(
            PACKAGE,
            "outlook",
            name=self.market.name,
            days=description(self.market, self.figures, t),
            form=instructions(Outlook),
        )
        messages = (Message("system", fill(PACKAGE, "persona")), Message("user", text))
        outlook: Outlook = self._llm.ask(Request("llmoe.outlook", messages, Outlook))
        return outlook


def _enough(routed: dict[str, tuple[list[Any], list[float]]], purpose: str) -> dict[str, Samples]:
    """Return each expert's samples; one with too few of its own learns from all."""
    rows_of_all = [row for outlook in OUTLOOKS for row in routed[outlook][0]]
    rises_of_all = [rise for outlook in OUTLOOKS for rise in routed[outlook][1]]
    if not rows_of_all:
        raise ValueError(f"llmoe: the router answered on no day of {purpose}; see the ledger")
    samples = {}
    for outlook in OUTLOOKS:
        own = routed[outlook]
        if len(own[0]) < FEWEST:
            log.warning(
                "llmoe: %d %s samples for %s; that expert uses those of both",
                *(len(own[0]), outlook, purpose),
            )
        rows, rises = own if len(own[0]) >= FEWEST else (rows_of_all, rises_of_all)
        samples[outlook] = Samples(np.stack(rows), np.array(rises, dtype=np.float32))
    return samples
