"""The rules as backtrader strategies, one class each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from mmdrex.engines.sleeve import Sleeve
from mmdrex.engines.sleeve_strategy import Array, SleeveStrategy
from strategies import POOL
from strategies.rule import Rule


class RuleStrategy(SleeveStrategy):
    """Base of the rules: trade one rule on every feed, with the rule's parameters as params.

    A rule of your own needs three lines::

        class Mine(RuleStrategy):
            rule = MY_RULE
            params = rule_params(MY_RULE)
    """

    rule: Rule
    on_price: Sequence[str] = ()  # features drawn over the bars
    below: Sequence[str] = ()  # features drawn in a panel below them

    def __init__(self, *args: Any, **unknown: Any) -> None:
        super().__init__(*args, **unknown)
        names = type(self).rule.params._asdict()
        self.rule = type(self).rule.with_params(**{name: getattr(self.p, name) for name in names})
        self._states = {sleeve.symbol: self.rule.flat for sleeve in self.sleeves}

    def draw(self) -> None:
        """Plot the target and the features the class names."""
        for sleeve in self.sleeves:
            self.draw_lines(sleeve, self.on_price, self.below)
            self.draw_lines(sleeve, below=("target",))

    def plan_ahead(self, bars: dict[str, pd.DataFrame]) -> dict[str, Array]:
        """Return the rule's targets over all bars."""
        targets = {}
        for sleeve in self.sleeves:
            features = self.rule.features(bars[sleeve.symbol], self.rule.params)
            self._show(sleeve, features)
            targets[sleeve.symbol] = self.rule.scan(features, self.rule.params)
        return targets

    def decide(self, due: Sequence[Sleeve]) -> Iterable[float]:
        """Step the rule by one bar."""
        for sleeve in due:
            features = self.rule.features(sleeve.buffer.frame(), self.rule.params)
            self._show(sleeve, features)
            state, target = self.rule.step(
                self._states[sleeve.symbol], features[-1], self.rule.params
            )
            self._states[sleeve.symbol] = state
            yield target

    def _show(self, sleeve: Sleeve, features: Any) -> None:
        sleeve.drawn = {name: features[name] for name in (*self.on_price, *self.below)}


def rule_params(rule: Rule) -> tuple[tuple[str, float], ...]:
    """Return a rule's parameters with their defaults, as backtrader's ``params``."""
    return tuple(rule.params._asdict().items())


# One class per rule, written out: a class made in a function can't be pickled by optstrategy.


class MACross(RuleStrategy):
    """Moving-average cross of the trend expert (Appendix A)."""

    rule = POOL["ma_cross"]
    params = rule_params(rule)
    on_price = ("fast", "slow")


class Momentum(RuleStrategy):
    """Momentum of the trend expert (Appendix A)."""

    rule = POOL["momentum"]
    params = rule_params(rule)
    below = ("momentum",)


class Turtle(RuleStrategy):
    """Turtle channels of the trend expert (Appendix A)."""

    rule = POOL["turtle"]
    params = rule_params(rule)
    on_price = ("entry_high", "entry_low", "exit_high", "exit_low")


class Bollinger(RuleStrategy):
    """Bollinger bands of the reversal expert (Algorithm 4)."""

    rule = POOL["bollinger"]
    params = rule_params(rule)
    on_price = ("upper", "middle", "lower")


class RSISwing(RuleStrategy):
    """RSI swings of the reversal expert (Appendix A)."""

    rule = POOL["rsi_swing"]
    params = rule_params(rule)
    below = ("rsi",)


class KDJ(RuleStrategy):
    """KDJ of the reversal expert (Appendix A)."""

    rule = POOL["kdj"]
    params = rule_params(rule)
    below = ("k", "d", "j")


class VolumeBreakout(RuleStrategy):
    """Breakout on volume of the breakout expert (Appendix A)."""

    rule = POOL["volume_breakout"]
    params = rule_params(rule)
    on_price = ("recent_high", "recent_low", "ma")


class ATRBreakout(RuleStrategy):
    """Breakout by true range of the breakout expert (Appendix A)."""

    rule = POOL["atr_breakout"]
    params = rule_params(rule)
    on_price = ("ma",)


class LongOnly(RuleStrategy):
    """Long with all the capital from the first bar (position expert)."""

    rule = POOL["long_only"]
    params = rule_params(rule)


class ShortOnly(RuleStrategy):
    """Short with all the capital from the first bar (position expert)."""

    rule = POOL["short_only"]
    params = rule_params(rule)


class Cash(RuleStrategy):
    """Nothing held (position expert)."""

    rule = POOL["cash"]
    params = rule_params(rule)


RULES: dict[str, type[RuleStrategy]] = {
    "ma_cross": MACross,
    "momentum": Momentum,
    "turtle": Turtle,
    "bollinger": Bollinger,
    "rsi_swing": RSISwing,
    "kdj": KDJ,
    "volume_breakout": VolumeBreakout,
    "atr_breakout": ATRBreakout,
    "long_only": LongOnly,
    "short_only": ShortOnly,
    "cash": Cash,
}
