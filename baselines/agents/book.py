"""The account an agent believes to have: its own targets, filled at the next open, no costs."""

from __future__ import annotations

from mmdrex.observation.features import Table


class Book:
    """Value of 1.0 at the start; ``target`` is what was decided last and may not be filled yet."""

    def __init__(self, table: Table, start: int) -> None:
        self._open, self._close = table["open"], table["close"]
        self._bar = start
        self.value = 1.0
        self.held = 0.0
        self.target = 0.0

    def advance(self, t: int) -> None:
        """Carry the value to the close of bar t; the share held stays the target's."""
        while self._bar < t:
            self._bar += 1
            before, start = self._close[self._bar - 1], self._open[self._bar]
            end = self._close[self._bar]
            self.value *= 1.0 + self.held * (float(start) / float(before) - 1.0)
            self.held = self.target
            self.value *= 1.0 + self.held * (float(end) / float(start) - 1.0)

    def text(self) -> str:
        """Return the account as a prompt shows it, in shares of the starting capital."""
        state = "long" if self.target > 0 else "short" if self.target < 0 else "in cash"
        return f"position {state}; total value {self.value:.1%} of the starting capital"
