"""A backtrader strategy that trades one target per feed, each feed in a sleeve of its own."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.engines.drawing import Drawn
from mmdrex.engines.feeds import BarBuffer, bar_time, traded_feeds
from mmdrex.engines.guard import checked_target
from mmdrex.engines.sleeve import Rejection, Signal, Sleeve, shares_of
from strategies.rule import did_you_mean

Array = NDArray[np.float64]

TOO_SMALL = "less than one share"

logger = logging.getLogger(__name__)


class SleeveStrategy(bt.Strategy):  # type: ignore[misc]  # backtrader is untyped
    """Base of the strategies: trades what ``plan_ahead`` or ``decide`` asks for.

    A target is decided at the close of a feed's bar and filled at its next open. Under
    ``Cerebro(cheat_on_open=True)``, as ``make_cerebro`` sets it up, the order is sized at that
    open; in a stock Cerebro it is sized at the close before, and a buy that the cash can't pay at
    the open is rejected: it is sent again, smaller, and counted in ``rejections``.

    Parameters
    ----------
    feeds : list of str or int, optional
        Names or indexes of the feeds to trade; all but resampled and replayed clones by default.
    allocation : "equal" or dict of str to float
        Each feed's share of the starting cash, never rebalanced.

    Attributes
    ----------
    sleeves : list of Sleeve
        Cash, shares and target of each traded feed.
    rejections : list of Rejection
        Every order that was not filled as it was sent.
    sent : int
        Orders sent so far.
    """

    params: Any = (("feeds", None), ("allocation", "equal"))

    def __init__(self, *args: Any, **unknown: Any) -> None:
        super().__init__()
        known = list(self.params._getkeys())
        for name in unknown:
            raise TypeError(
                f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
        if args:
            raise TypeError(f"{type(self).__name__} takes its parameters by name; got {args!r}")
        feeds = traded_feeds(self.datas, self.p.feeds)
        shares = shares_of(self.p.allocation, list(feeds))
        self.sleeves = [
            Sleeve(symbol, data, BarBuffer(data, symbol), shares[symbol])
            for symbol, data in feeds.items()
        ]
        self.rejections: list[Rejection] = []
        self.sent = 0
        self._sized_at_open = bool(self.cerebro.p.cheat_on_open and self.cerebro.p.broker_coo)
        self.draw()

    # What a subclass says

    def plan_ahead(self, bars: dict[str, pd.DataFrame]) -> dict[str, Array]:
        """Return the raw targets (T,) of every symbol; called once when all bars are preloaded."""
        raise NotImplementedError

    def decide(self, due: Sequence[Sleeve]) -> Iterable[float]:
        """Return the raw target of each sleeve whose feed has a new bar; without preload."""
        raise NotImplementedError

    def before_open(self, opened: Sequence[Sleeve]) -> None:
        """Change a target when the time of the feeds' next bar is known, and nothing else of it."""

    def draw(self) -> None:
        """Declare what ``cerebro.plot()`` draws beside the target."""
        for sleeve in self.sleeves:
            self.draw_lines(sleeve, below=("target",))

    # What backtrader calls

    def start(self) -> None:
        """Open the sleeves; plan everything at once if the bars are there."""
        cash = self.broker.get_cash()
        for sleeve in self.sleeves:
            if not self.broker.getcommissioninfo(sleeve.data).stocklike:
                raise ValueError(
                    f"{sleeve.symbol} has a futures-like commission (a margin); targets are "
                    "shares of the capital and need a stock-like one"
                )
            sleeve.cash = cash * sleeve.share
            sleeve.slack = 1e-12 * cash if len(self.sleeves) > 1 else 0.0
        if all(sleeve.buffer.preloaded() for sleeve in self.sleeves):
            bars = {sleeve.symbol: sleeve.buffer.whole() for sleeve in self.sleeves}
            targets = self.plan_ahead(bars)
            for sleeve in self.sleeves:
                sleeve.planned = checked_target(bars[sleeve.symbol], targets[sleeve.symbol])
                sleeve.drawn = {**sleeve.drawn, "target": sleeve.planned}

    def prenext_open(self) -> None:
        """Send orders while some feeds have not started."""
        self.next_open()

    def next_open(self) -> None:
        """Send the pending order of every feed that opens a bar."""
        if self._sized_at_open:
            opened = [sleeve for sleeve in self.sleeves if len(sleeve.data) > len(sleeve.times)]
            self.before_open(opened)
            for sleeve in opened:
                if sleeve.pending:
                    self._send(sleeve, sleeve.data.open[0])

    def prenext(self) -> None:
        """Trade the feeds that have started while others have not."""
        self.next()

    def next(self) -> None:
        """Book fills, take the new targets, and in a stock Cerebro send the orders."""
        self._poll()
        self.take_targets()
        for sleeve in self.sleeves:
            if len(sleeve.times) < len(sleeve.targets):
                sleeve.times.append(bar_time(sleeve.data, sleeve.data.datetime[0]))
                sleeve.guard(sleeve.targets[-1], sleeve.data.close[0])
            if sleeve.pending and not self._sized_at_open:
                self._send(sleeve, sleeve.data.close[0])

    def stop(self) -> None:
        """Say how many orders were not filled as they were sent."""
        self._poll()
        small = sum(rejection.reason == TOO_SMALL for rejection in self.rejections)
        if self.rejections:
            warnings.warn(
                f"of {self.sent} orders {len(self.rejections) - small} were rejected or cancelled "
                f"(rejected ones were sent again, smaller), and {small} more came to {TOO_SMALL}; "
                "the analyzer Routing lists them. mmdrex.make_cerebro sizes orders at the open "
                "that fills them, in fractions of a share",
                stacklevel=2,
            )

    # The rest

    @property
    def raw_targets(self) -> dict[str, pd.Series[float]]:
        """The targets asked for so far, before the equity guard, by symbol."""
        return {
            sleeve.symbol: pd.Series(
                sleeve.targets[: len(sleeve.times)], pd.DatetimeIndex(sleeve.times), dtype="float64"
            )
            for sleeve in self.sleeves
        }

    def draw_lines(
        self, sleeve: Sleeve, on_price: Sequence[str] = (), below: Sequence[str] = ()
    ) -> None:
        """Plot arrays of ``sleeve.drawn`` by name: over the bars, or in one panel below them."""
        for name in on_price:
            Drawn(sleeve.data, sleeve=sleeve, name=name, plotname=name, subplot=False)
        panel = None
        for name in below:
            line = Drawn(
                sleeve.data,
                sleeve=sleeve,
                name=name,
                plotname=name,
                plotmaster=panel,
                subplot=panel is None,
            )
            panel = line if panel is None else panel

    def take_targets(self) -> None:
        """Fetch the raw targets of the feeds with a new bar; a second call changes nothing."""
        due = [sleeve for sleeve in self.sleeves if len(sleeve.data) > len(sleeve.targets)]
        live = [sleeve for sleeve in due if sleeve.planned is None]
        for sleeve in due:
            if sleeve.planned is not None:
                sleeve.targets.append(float(sleeve.planned[len(sleeve.data) - 1]))
                self.describe(sleeve)
        if live:
            for sleeve in live:
                sleeve.buffer.update()
            for sleeve, target in zip(live, self.decide(live), strict=True):
                sleeve.targets.append(float(target))
                sleeve.drawn = {**sleeve.drawn, "target": sleeve.targets}
                self.describe(sleeve)

    def describe(self, sleeve: Sleeve) -> None:
        """Set ``sleeve.decision``, the reason its next orders carry."""
        time = bar_time(sleeve.data, sleeve.data.datetime[0])
        sleeve.decision = Signal(sleeve.symbol, time, sleeve.targets[-1])

    def _poll(self) -> None:
        for sleeve in self.sleeves:
            if sleeve.order is not None:
                rejection = sleeve.poll(bar_time(sleeve.data, sleeve.data.datetime[0]))
                if rejection is not None:
                    self._reject(rejection)

    def _reject(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)
        logger.info("%s: order of %g shares not filled (%s, %s)", *_told(rejection))

    def _send(self, sleeve: Sleeve, price: float) -> None:
        if sleeve.order is not None:
            self.cancel(sleeve.order)
            sleeve.poll(sleeve.times[-1])
            if sleeve.order is not None:
                return  # the broker has not cancelled it yet
        sleeve.pending = False
        broker = self.broker.p
        slips = getattr(broker, "slip_perc", 0.0) if getattr(broker, "slip_open", True) else 0.0
        commission = self.broker.getcommissioninfo(sleeve.data)
        if len(self.sleeves) == 1:
            # The broker sums the same fills in another way: a buy with all the cash must fit its.
            sleeve.slack = max(sleeve.cash - self.broker.get_cash(), 0.0)
        size, wanted = sleeve.order_size(price, commission, float(slips))
        if size == 0.0 and wanted != 0.0:
            self._reject(Rejection(sleeve.times[-1], sleeve.symbol, TOO_SMALL, wanted))
        if size != 0.0:
            send = self.buy if size > 0.0 else self.sell
            sleeve.order = send(
                data=sleeve.data,
                size=abs(size),
                decision=sleeve.decision,
                target=sleeve.state.target,
            )
            self.sent += 1


def _told(rejection: Rejection) -> tuple[Any, ...]:
    return rejection.symbol, rejection.size, rejection.reason, rejection.time
