"""An analyzer that keeps what a backtrader run did: equity per sleeve and every fill."""

from __future__ import annotations

from typing import Any

import backtrader as bt
import pandas as pd

from mmdrex.audit.records import ORDER_COLUMNS
from mmdrex.engines.feeds import bar_time


class Ledger(bt.Analyzer):  # type: ignore[misc]  # backtrader is untyped
    """Equity of every sleeve at its closes, and the filled orders, of a ``SleeveStrategy``."""

    def start(self) -> None:
        """Open an empty ledger."""
        self._equity: dict[str, list[float]] = {s.symbol: [] for s in self.strategy.sleeves}
        self._fills: list[tuple[Any, ...]] = []

    def next(self) -> None:
        """Write down the equity of the sleeves whose feed has a new bar."""
        for sleeve in self.strategy.sleeves:
            equity = self._equity[sleeve.symbol]
            if len(sleeve.times) > len(equity):
                equity.append(sleeve.cash + sleeve.position * sleeve.data.close[0])

    def notify_order(self, order: Any) -> None:
        """Write down a fill."""
        if order.status == bt.Order.Completed:
            symbol = next(s.symbol for s in self.strategy.sleeves if s.data is order.data)
            done = order.executed
            side = "buy" if order.isbuy() else "sell"
            time = bar_time(order.data, done.dt)
            self._fills.append((time, symbol, side, abs(done.size), done.price, done.comm))

    @property
    def equity(self) -> dict[str, pd.Series]:
        """Equity at each close of each sleeve's own bars, by symbol."""
        return {
            sleeve.symbol: pd.Series(self._equity[sleeve.symbol], pd.DatetimeIndex(sleeve.times))
            for sleeve in self.strategy.sleeves
        }

    @property
    def orders(self) -> pd.DataFrame:
        """The fills, in order of time."""
        return pd.DataFrame(self._fills, columns=list(ORDER_COLUMNS))
