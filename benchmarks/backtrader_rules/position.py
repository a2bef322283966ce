"""The rules of the position expert (Algorithms 9 to 11) for backtrader."""

# ruff: noqa: D101, D102 - what each rule does is said once, in strategies/

from __future__ import annotations

from backtrader_rules.layered import LayeredRule


class LongOnly(LayeredRule):
    def next(self) -> None:
        self.targets.append(1.0)


class ShortOnly(LayeredRule):
    def next(self) -> None:
        self.targets.append(-1.0)


class Cash(LayeredRule):
    def next(self) -> None:
        self.targets.append(0.0)
