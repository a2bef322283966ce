"""An agent in a backtest: it decides on no day that is not traded, and its journals are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from baselines.agents.agent import Agent
from mmdrex.data.files import replacing
from mmdrex.data.windows import decision_bars

JOURNAL, SETTINGS = "journal.csv", "agent.json"


class AgentRun:
    """A function from bars to targets that remembers what the agent said.

    Parameters
    ----------
    agent : Agent
    start : str, optional
        First day traded: the agent is first asked at the close before it.
    lookback : int
        As the backtest's; its first decision bar is the agent's.
    progress : bool
    """

    def __init__(
        self, agent: Agent, start: str | None = None, lookback: int = 100, progress: bool = False
    ) -> None:
        agent.progress = progress
        self._agent, self._start, self._lookback = agent, start, lookback
        self._wanted = agent.start  # the user's own setting counts if it is later
        self._journals: list[pd.DataFrame] = []

    def __call__(self, bars: pd.DataFrame) -> pd.Series:
        """Return the agent's targets (T,) from the backtest's first decision bar on."""
        index = pd.DatetimeIndex(bars.index)
        rows = decision_bars(index, 1, self._lookback, self._start)
        if len(rows):
            first = f"{index[rows[0]]:%Y-%m-%d}"
            self._agent.start = max(first, self._wanted or first)
        target = self._agent.targets(bars)
        self._journals.append(self._agent.journal)
        return target

    def write(self, folder: Path) -> None:
        """Write every day's decision to ``journal.csv`` and the agent's settings beside it."""
        with replacing(folder / JOURNAL) as aside:
            pd.concat(self._journals).to_csv(aside, index=False)
        record = {"baseline": self._agent.name, "settings": self._agent.settings}
        with replacing(folder / SETTINGS) as aside:
            aside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def spent(self) -> str:
        """Return what the run has asked and what that cost, in one line."""
        model, used = self._agent.model, self._agent.model.budget.used
        price = f", {used['money']:.2f} of money" if model.backend.priced else ""
        return (
            f"{model.backend.model} was called {used['calls']:.0f} times: {used['tokens']:.0f} "
            f"tokens{price}; all replies are in {model.ledger.path}"
        )
