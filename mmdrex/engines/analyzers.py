"""What a run leaves behind: the analyzers ``Routing`` and ``Returns``, the observer ``Weights``."""

from __future__ import annotations

from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd

from mmdrex.engines.sleeve import Rejection
from mmdrex.engines.sleeve_strategy import SleeveStrategy
from mmdrex.router.decision import Decision
from strategies import EXPERTS


def _our_strategy(reader: Any, strategy: Any) -> SleeveStrategy:
    if not isinstance(strategy, SleeveStrategy):
        raise TypeError(
            f"{type(reader).__name__} reads strategies of mmdrex; got {type(strategy).__name__}"
        )
    return strategy


class Routing(bt.Analyzer):  # type: ignore[misc]  # backtrader is untyped
    """What was decided and what became of the orders.

    ``get_analysis()`` returns a dict of

    - ``decisions``: list of Decision, in order of time;
    - ``weights``: DataFrame of one row per decision, indexed by symbol and time, of (K,) shares;
    - ``rules``: DataFrame of the same rows, the rule each expert chose;
    - ``in_sample``: whether the run overlaps the router's training dates;
    - ``orders``: the number of orders sent;
    - ``rejections``: DataFrame of one row per order not filled as it was sent: time, symbol,
      reason, size in signed shares.

    Strategies without a router have no decisions.
    """

    def start(self) -> None:
        """Check that the strategy is one of ours."""
        _our_strategy(self, self.strategy)

    def stop(self) -> None:
        """Read the strategy before it is gone."""
        decisions: list[Decision] = getattr(self.strategy, "decisions", [])
        self.rets = {
            "decisions": decisions,
            "weights": _table(
                decisions, [dict(zip(d.rules, d.weights, strict=True)) for d in decisions]
            ),
            "rules": _table(decisions, [d.rules for d in decisions]),
            "in_sample": getattr(self.strategy, "in_sample", False),
            "orders": self.strategy.sent,
            "rejections": pd.DataFrame(self.strategy.rejections, columns=list(Rejection._fields)),
        }


def _table(decisions: list[Decision], rows: list[dict[str, Any]]) -> pd.DataFrame:
    labels = [(decision.symbol, decision.time) for decision in decisions]
    index = pd.MultiIndex.from_tuples(labels, names=["symbol", "time"]) if labels else None
    return pd.DataFrame(rows, index=index, columns=None if rows else list(EXPERTS))


class Returns(bt.Analyzer):  # type: ignore[misc]  # backtrader is untyped
    """The account's simple returns per day; ``get_analysis()`` is a tz-naive Series.

    The first value is measured from the starting cash. Of several bars a day the last counts.
    """

    def start(self) -> None:
        """Note the cash at the start."""
        self._start = self.strategy.broker.get_value()
        self._values: dict[pd.Timestamp, float] = {}

    def next(self) -> None:
        """Note the value of the account after the bar."""
        time = pd.Timestamp(self.strategy.datetime.datetime(0))
        self._values[time.normalize()] = self.strategy.broker.get_value()

    def stop(self) -> None:
        """Turn values into returns."""
        values = np.array([self._start, *self._values.values()])
        self.rets = pd.Series(
            values[1:] / values[:-1] - 1.0, index=pd.DatetimeIndex(self._values), name="returns"
        )


class Weights(bt.Observer):  # type: ignore[misc]  # backtrader is untyped
    """The capital's split among the experts in force, the mean over sleeves by their share.

    Plotted in a panel below the prices; 0 before the first decision.
    """

    lines: Any = tuple(EXPERTS)
    plotinfo = {"plot": True, "subplot": True, "plotname": "weights"}  # noqa: RUF012 - backtrader
    csv = True

    def start(self) -> None:
        """Check that the strategy is one of ours."""
        _our_strategy(self, self._owner)

    def next(self) -> None:
        """Show the weights in force after the bar."""
        share = sum(sleeve.share for sleeve in self._owner.sleeves)
        split = np.zeros(len(EXPERTS))
        for sleeve in self._owner.sleeves:
            if sleeve.weights is not None and share > 0.0:
                held = sleeve.weights[: len(split)]  # a pool of one's own may have other experts
                split[: len(held)] += sleeve.share / share * held
        for line, value in zip(self.lines, split, strict=True):
            line[0] = value
