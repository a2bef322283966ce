"""MM-DREX as a backtrader strategy: a router splits the capital among experts every window."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mmdrex.audit.records import append_decisions, write_decisions
from mmdrex.data.splits import asset_class, first_earned, overlaps
from mmdrex.data.windows import decision_bars, first_decision, require_length
from mmdrex.engines.ablations import check_weights, reweigh
from mmdrex.engines.feeds import bar_time
from mmdrex.engines.planning import Plan, blend, check_pool, load_router, plan, rule_features
from mmdrex.engines.sleeve import Sleeve
from mmdrex.engines.sleeve_strategy import Array, SleeveStrategy
from mmdrex.observation.observation import Observation, Observer
from mmdrex.router.decision import Decision
from strategies import EXPERTS, POOL

logger = logging.getLogger(__name__)


@dataclass
class Asked:
    """What the router was asked about one feed, and what it said."""

    rows: list[int] = field(default_factory=list)  # decision bars, earlier ones for best_expert too
    observations: list[Observation] = field(default_factory=list)
    answers: list[Decision] = field(default_factory=list)
    traded: list[tuple[int, Decision]] = field(default_factory=list)  # decision bar, decision


class MMDREXStrategy(SleeveStrategy):
    """Trade MM-DREX: the same targets as ``mmdrex.plan``, on every feed.

    Where the feeds are preloaded, every window of every feed is decided before the first bar, in
    one router batch. Else the router is asked at the first bar of each window, the feeds that are
    due together in one batch. That a bar was the last before ``start`` shows then when the next
    one arrives: in time under ``make_cerebro``, which sends orders at the open, but in a stock
    Cerebro the first order leaves one bar later.

    Parameters
    ----------
    router : str or router, default "tiny"
        A name, folder or hub id for ``Router.from_pretrained``, or an object with ``decide``.
    lookback : int, default 100
        Bars an observation shows.
    window : int, default 90
        Bars between two decisions.
    start : str or Timestamp, optional
        The first decision is made on the last bar before it.
    weights : {"uniform", "random", "best_expert"} or callable, optional
        Replaces the router's weights and nothing else.
    seed : int, default 42
        Of ``weights="random"``.
    pool, experts : mapping, optional
        The rules, and every expert's rules.
    anonymous : bool, default False
        Hide symbol, dates and price level from the router.
    audit : str or Path, optional
        File that gets the decisions as JSON lines; an existing one is replaced.
    feeds, allocation
        See ``SleeveStrategy``.
    """

    params = (
        ("router", "tiny"),
        ("lookback", 100),
        ("window", 90),
        ("start", None),
        ("weights", None),
        ("seed", 42),
        ("pool", None),
        ("experts", None),
        ("anonymous", False),
        ("audit", None),
    )

    def __init__(self, *args: Any, **unknown: Any) -> None:
        super().__init__(*args, **unknown)
        check_weights(self.p.weights)
        for name in ("pool", "experts"):
            value = getattr(self.p, name)
            if value is not None and not isinstance(value, Mapping):
                raise TypeError(
                    f"{name} must be a dict, not {value!r}; under optstrategy wrap it in a list: "
                    f"{name}=[{{...}}]"
                )
        self.pool = POOL if self.p.pool is None else self.p.pool
        self.experts = EXPERTS if self.p.experts is None else self.p.experts
        self.asked = {sleeve.symbol: Asked() for sleeve in self.sleeves}
        self._router: Any = None

    def start(self) -> None:
        """Load the router and open the sleeves."""
        self._router = load_router(self.p.router)
        check_pool(self._router, self.pool, self.experts)
        if self.p.audit is not None:
            write_decisions(self.p.audit, [])
        super().start()

    def draw(self) -> None:
        """Plot the target of every feed; the observer ``Weights`` plots the weights."""
        for sleeve in self.sleeves:
            self.draw_lines(sleeve, below=("target",))

    def plan_ahead(self, bars: dict[str, pd.DataFrame]) -> dict[str, Array]:
        """Return the targets of ``mmdrex.plan``; feeds too short for a decision stay in cash."""
        long_enough = {symbol: frame for symbol, frame in bars.items() if self._fits(symbol, bars)}
        plans: dict[str, Plan] = plan(
            long_enough,
            self._router,
            lookback=self.p.lookback,
            window=self.p.window,
            start=self.p.start,
            weights=self.p.weights,
            seed=self.p.seed,
            pool=self.pool,
            experts=self.experts,
            anonymous=self.p.anonymous,
        )
        for symbol, planned in plans.items():
            first = int(planned.bars.index.searchsorted(planned.start))
            rows = range(first, first + self.p.window * len(planned.decisions), self.p.window)
            self.asked[symbol].traded = list(zip(rows, planned.decisions, strict=True))
        self._record([decision for planned in plans.values() for decision in planned.decisions])
        targets = {symbol: np.zeros(len(frame)) for symbol, frame in bars.items()}
        return targets | {symbol: planned.target.to_numpy() for symbol, planned in plans.items()}

    def _fits(self, symbol: str, bars: dict[str, pd.DataFrame]) -> bool:
        """Return whether a feed holds a decision; the only feed of a run must."""
        try:
            require_length(bars[symbol], self.p.lookback, self.p.window, symbol)
            index = pd.DatetimeIndex(bars[symbol].index)
            decision_bars(index, self.p.window, self.p.lookback, self.p.start)
        except ValueError as error:
            if len(bars) == 1:
                raise
            warnings.warn(f"not traded: {error}", stacklevel=2)
            return False
        return True

    def decide(self, due: Sequence[Sleeve]) -> Iterable[float]:
        """Ask the router about the feeds whose window begins, then blend the rules' targets."""
        asking = [(sleeve, rows) for sleeve in due if (rows := self._rows_to_ask(sleeve))]
        if asking:
            self._ask(asking)
        return [self._blended(sleeve) for sleeve in due]

    def _rows_to_ask(self, sleeve: Sleeve) -> list[int]:
        """Return the decision bars the router is to be asked about now."""
        asked, row = self.asked[sleeve.symbol], len(sleeve.buffer) - 1
        if asked.traded:
            return [row] if row == asked.traded[-1][0] + self.p.window else []
        time = sleeve.buffer.times[-1]
        if row == first_decision(self.p.lookback):
            return [row] if self.p.start is None or time >= pd.Timestamp(self.p.start) else []
        return [] if self.p.start is None else self._first_rows(row - 1, time)

    def before_open(self, opened: Sequence[Sleeve]) -> None:
        """Decide on the last bar before ``start`` now that the bar after it has come."""
        if self.p.start is None:
            return
        asking = []
        for sleeve in opened:
            if sleeve.planned is None and not self.asked[sleeve.symbol].traded:
                time = bar_time(sleeve.data, sleeve.data.datetime[0])
                if rows := self._first_rows(len(sleeve.buffer) - 1, time):
                    asking.append((sleeve, rows))
        if asking:
            self._ask(asking)
        for sleeve, _ in asking:
            sleeve.targets[-1] = self._blended(sleeve)
            sleeve.guard(sleeve.targets[-1], sleeve.buffer.last("close"))
            self.describe(sleeve)

    def _first_rows(self, row: int, next_time: pd.Timestamp) -> list[int]:
        """Return the bars to ask about if ``row`` is the first decision bar of a ``start``."""
        first = first_decision(self.p.lookback)
        if row < first or next_time < pd.Timestamp(self.p.start):
            return []
        # The best expert of the training split is known from windows before the first traded one.
        earlier = range(first, row - self.p.window + 1, self.p.window)
        return [*(earlier if self.p.weights == "best_expert" else ()), row]

    def _ask(self, asking: Sequence[tuple[Sleeve, list[int]]]) -> None:
        batch = []
        for sleeve, rows in asking:
            observer = Observer(
                sleeve.buffer.frame(),
                sleeve.symbol,
                self.p.lookback,
                self.pool,
                self.p.anonymous,
                self.experts,
            )
            self.asked[sleeve.symbol].rows += rows
            batch.append([observer.at(row) for row in rows])
        answers = iter(self._router.decide([seen for some in batch for seen in some]))
        decided = []
        for (sleeve, rows), observations in zip(asking, batch, strict=True):
            asked = self.asked[sleeve.symbol]
            asked.observations += observations
            asked.answers += [next(answers) for _ in rows]
            asked.traded.append((rows[-1], self._reweighed(sleeve, asked, rows[-1])))
            decided.append(asked.traded[-1][1])
        self._record(decided)

    def _reweighed(self, sleeve: Sleeve, asked: Asked, row: int) -> Decision:
        if self.p.weights is None:
            return asked.answers[-1]
        bars = sleeve.buffer.frame(row + 1)
        features = rule_features(bars, asked.answers, self.pool)
        return reweigh(
            bars,
            asked.observations,
            asked.answers,
            self.p.weights,
            self.p.window,
            self.pool,
            features,
            self.p.seed,
        )[-1]

    def _blended(self, sleeve: Sleeve) -> float:
        traded = self.asked[sleeve.symbol].traded
        if not traded:
            return 0.0
        row, decision = traded[-1]
        bars = sleeve.buffer.frame()
        features = rule_features(bars, [decision], self.pool)
        return float(blend(features, decision, row, len(bars), self.pool)[-1])

    def describe(self, sleeve: Sleeve) -> None:
        """Set the decision in force, which the sleeve's next orders carry."""
        super().describe(sleeve)
        now = len(sleeve.targets) - 1
        for row, decision in reversed(self.asked[sleeve.symbol].traded):
            if row <= now:
                sleeve.decision, sleeve.weights = decision, decision.weights
                return

    @property
    def decisions(self) -> list[Decision]:
        """The decisions made so far, in order of time."""
        made = [
            decision
            for sleeve in self.sleeves
            for row, decision in self.asked[sleeve.symbol].traded
            if row < len(sleeve.targets)
        ]
        return sorted(made, key=lambda decision: decision.time)

    @property
    def in_sample(self) -> bool:
        """Whether the bars traded so far overlap the router's training dates."""
        trained: dict[str, tuple[str, str]] = getattr(self._router, "trained", {})
        for sleeve in self.sleeves:
            times = pd.DatetimeIndex(sleeve.times)
            dates = trained.get(asset_class(times))
            made = [d for row, d in self.asked[sleeve.symbol].traded if row < len(sleeve.targets)]
            if dates is None or not made:
                continue
            decided = made[0].time
            if decided < times[-1] and overlaps(dates, first_earned(times, decided), times[-1]):
                return True
        return False

    def stop(self) -> None:
        """Say so where the run overlaps what the router was trained on."""
        super().stop()
        if self.in_sample:
            logger.warning("IN-SAMPLE: the router was trained on dates that this run trades")

    def _record(self, decisions: list[Decision]) -> None:
        if self.p.audit is not None:
            append_decisions(self.p.audit, sorted(decisions, key=lambda decision: decision.time))
