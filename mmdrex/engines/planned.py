"""What a plan holds, and how it is shown and kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mmdrex.audit.figures import figure_html, save_figure, weights_figure
from mmdrex.audit.records import write_decisions
from mmdrex.data.bars import periods_per_year
from mmdrex.data.files import replacing
from mmdrex.data.splits import first_earned, overlaps, span_label
from mmdrex.router.decision import Decision

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Plan:
    """Targets of one asset with the decisions they were blended from.

    Attributes
    ----------
    bars : DataFrame of shape (T, 5)
    symbol : str
    target : Series of shape (T,)
        Signed share of the capital in [-1, 1], known after the close of its bar; not guarded.
    weights : DataFrame of shape (T, K)
        One column per expert; 0 before the first decision bar.
    decisions : list of Decision
        One per window, in order of time.
    window : int
        Bars between two decisions.
    trained : tuple of (str, str) or None
        First and last training date of the router, where it records them.
    """

    bars: pd.DataFrame
    symbol: str
    target: pd.Series
    weights: pd.DataFrame
    decisions: list[Decision]
    window: int
    trained: tuple[str, str] | None = None

    @property
    def start(self) -> pd.Timestamp:
        """The first decision bar."""
        return self.decisions[0].time

    @property
    def split(self) -> str:
        """The splits the plan trades in, stamped IN-SAMPLE where the router was trained there."""
        crypto = periods_per_year(pd.DatetimeIndex(self.bars.index)) == 365
        label = span_label(self._earns, self.bars.index[-1], crypto)
        return f"{label}, IN-SAMPLE" if self.in_sample else label

    @property
    def in_sample(self) -> bool:
        """Whether the router's training dates overlap the bars the plan trades."""
        if self.trained is None:
            return False
        return overlaps(self.trained, self._earns, self.bars.index[-1])

    @property
    def _earns(self) -> pd.Timestamp:
        """The first bar that can earn, the one after the first decision."""
        return first_earned(pd.DatetimeIndex(self.bars.index), self.start)

    def plot(self, equity: pd.Series | None = None) -> Figure:
        """Return a figure: the equity (or the close), the target, the weights as an area.

        Parameters
        ----------
        equity : Series of shape (T,), optional
            Drawn on top in place of the close.
        """
        curve = self.bars["close"].rename("close") if equity is None else equity.rename("equity")
        title = f"MM-DREX on {self.symbol}"
        return weights_figure(curve, self.weights, self.target, title=title, stamp=self.split)

    def save(self, folder: str | Path) -> None:
        """Write ``decisions.jsonl``, ``targets.csv`` (target and weights) and ``plan.png``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_decisions(folder / "decisions.jsonl", self.decisions)
        with replacing(folder / "targets.csv") as path:
            self.weights.assign(target=self.target).to_csv(path, index_label="date")
        save_figure(folder / "plan.png", self.plot())

    def _repr_html_(self) -> str:
        last = self.decisions[-1]
        rows = "".join(
            f"<tr><td>{expert}</td><td>{rule}</td><td>{share:.1%}</td></tr>"
            for (expert, rule), share in zip(last.rules.items(), last.weights, strict=True)
        )
        return (
            f"<b>MM-DREX on {self.symbol}</b>: {len(self.decisions)} decisions, one every "
            f"{self.window} bars from {self.start:%Y-%m-%d} ({self.split})"
            f"{figure_html(self.plot())}"
            f"<table><tr><th>expert</th><th>rule</th><th>weight on {last.time:%Y-%m-%d}</th></tr>"
            f"{rows}</table>"
        )
