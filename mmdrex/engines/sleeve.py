"""A sleeve: the part of the account that trades one feed, with cash and shares of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import backtrader as bt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.engines.feeds import BarBuffer
from mmdrex.engines.guard import BUY_MARGIN, GuardState, guard_step, order_size
from strategies.rule import did_you_mean

FIRST_CUT = 0.01  # share taken off a rejected buy when it is sent again; doubled every time
LARGEST_CUT = 0.5


class Signal(NamedTuple):
    """Why an order was sent: what ``order.info.decision`` holds where no router decides."""

    symbol: str
    time: pd.Timestamp
    target: float  # the target asked for, before the equity guard


class Rejection(NamedTuple):
    """An order that the broker, or rounding to whole shares, kept from being filled."""

    time: pd.Timestamp
    symbol: str
    reason: str
    size: float  # signed shares


def shares_of(allocation: str | Mapping[str, float], symbols: Sequence[str]) -> dict[str, float]:
    """Return each sleeve's share of the starting cash.

    Raises
    ------
    TypeError
        If ``allocation`` is neither "equal" nor a mapping.
    ValueError
        For a symbol that is not traded, one left out, a negative share, or more than 1 in all.
    """
    if allocation == "equal":
        return dict.fromkeys(symbols, 1.0 / len(symbols))
    if not isinstance(allocation, Mapping):
        raise TypeError(
            f"allocation must be 'equal' or a dict of symbol to share, not {allocation!r}; under "
            "optstrategy wrap it in a list: allocation=[{...}]"
        )
    for symbol in allocation:
        if symbol not in symbols:
            raise ValueError(
                f"allocation names {symbol!r}, which is not traded; the feeds are "
                f"{', '.join(symbols)}.{did_you_mean(symbol, symbols)}"
            )
    missing = [symbol for symbol in symbols if symbol not in allocation]
    if missing:
        raise ValueError(f"allocation has no share for {', '.join(missing)}; give it one, 0 counts")
    if min(allocation.values()) < 0.0 or sum(allocation.values()) > 1.0 + 1e-9:
        raise ValueError(f"shares must be positive and sum to at most 1; got {dict(allocation)}")
    return {symbol: float(allocation[symbol]) for symbol in symbols}


@dataclass(eq=False)
class Sleeve:
    """Cash, shares, target and open order of one feed.

    Orders are polled: nothing here depends on ``notify_order``.
    """

    symbol: str
    data: Any = field(repr=False)
    buffer: BarBuffer = field(repr=False)
    share: float = 0.0
    cash: float = 0.0
    slack: float = 0.0  # cash left to the rounding of the account that sleeves share
    position: float = 0.0
    state: GuardState = field(default_factory=GuardState)
    pending: bool = False  # the target changed and its order has not been sent
    order: Any = None
    rejected: int = 0  # times in a row
    # Raw targets of all bars, if known ahead; then those of the bars so far, and their times.
    planned: NDArray[np.float64] | None = field(default=None, repr=False)
    targets: list[float] = field(default_factory=list, repr=False)
    times: list[pd.Timestamp] = field(default_factory=list, repr=False)
    drawn: Mapping[str, Any] = field(default_factory=dict, repr=False)  # name to (T,), to plot
    decision: Any = None
    weights: NDArray[np.float64] | None = None  # (K,), of the current window
    _booked: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def guard(self, raw: float, close: float) -> None:
        """Take a bar's raw target; mark an order as pending when the guarded one changed."""
        before = self.state.target
        equity = self.cash + self.position * close
        self.state, target = guard_step(self.state, raw, self.position, close, equity)
        if target != before:
            self.pending, self.rejected = True, 0

    def poll(self, time: pd.Timestamp) -> Rejection | None:
        """Book what was filled since the last call; return the rejection, if there was one."""
        if self.order is None:
            return None
        executed = self.order.executed
        filled = (executed.size, executed.size * executed.price, executed.comm)
        size, value, fees = (now - then for now, then in zip(filled, self._booked, strict=True))
        self.position += size
        self.cash -= value + fees
        self._booked = filled
        if self.order.alive():
            return None
        order, self.order, self._booked = self.order, None, (0.0, 0.0, 0.0)
        if order.status == bt.Order.Completed:
            self.rejected = 0
            return None
        if order.status in (bt.Order.Margin, bt.Order.Rejected):
            self.pending = True
            self.rejected += 1
        left = order.executed.remsize
        return Rejection(time, self.symbol, order.getstatusname(), left)

    def order_size(self, price: float, commission: Any, slippage: float) -> tuple[float, float]:
        """Return the signed shares to order at ``price``, rounded where shares are whole, and not.

        Parameters
        ----------
        price : float
        commission : backtrader.CommInfoBase
            Says what fees are and whether shares are whole.
        slippage : float
            Fraction of the price.
        """
        fees = commission.getcommission(1.0, price) / price
        cash = self.cash - self.slack
        size = order_size(self.state.target, cash, self.position, price, fees, slippage)
        if size > 0.0 and self.rejected:
            size *= 1.0 - min(FIRST_CUT * 2.0 ** (self.rejected - 1), LARGEST_CUT)
        whole = commission.getsize(1.0, 0.5) == 0
        if whole and size != -self.position:
            return float(math.trunc(size / BUY_MARGIN**2)), size
        return size, size
