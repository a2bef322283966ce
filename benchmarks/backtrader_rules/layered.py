"""What every rule below shares: layers on one side, and a record of the targets."""

# ruff: noqa: D102 - what each rule does is said once, in strategies/

from __future__ import annotations

import backtrader as bt


class LayeredRule(bt.Strategy):
    """Hold up to ``max_layers`` layers on one side; subclasses say when."""

    max_layers = 3

    def __init__(self) -> None:
        self.targets: list[float] = []
        self.side = self.layers = 0
        self.entry_price = self.last_price = 0.0
        self.close_line = self.data.close
        self.build()

    def build(self) -> None:
        """Create the indicators."""

    def enter(self, close: float) -> None:
        """Open a position or not."""

    def manage(self, close: float) -> None:
        """Close the position, add to it, or leave it."""

    def open_layers(self, side: int, layers: int, close: float) -> None:
        self.side, self.layers = side, min(layers, self.max_layers)
        self.entry_price = self.last_price = close

    def add_layer(self, close: float) -> None:
        total = self.entry_price * self.layers + close
        self.layers += 1
        self.entry_price, self.last_price = total / self.layers, close

    def go_flat(self) -> None:
        self.side = self.layers = 0

    def lost(self, close: float, distance: float) -> bool:
        if self.side == 1:
            return close < self.entry_price - distance
        return close > self.entry_price + distance

    def target(self) -> float:
        return self.side * self.layers / self.max_layers

    def prenext(self) -> None:
        self.targets.append(0.0)

    def next(self) -> None:
        close = self.close_line[0]
        if self.side == 0:
            self.enter(close)
        else:
            self.manage(close)
        self.targets.append(self.target())


def quotient(numerator: float, denominator: float) -> float:
    """Return the ratio, 1 where nothing traded."""
    return numerator / denominator if denominator > 0 else 1.0
