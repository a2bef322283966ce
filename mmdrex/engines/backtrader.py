"""MM-DREX and its rules as backtrader strategies, and the Cerebro in which engines agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import backtrader as bt
import pandas as pd

from mmdrex.data.bars import validate_bars
from mmdrex.engines.analyzers import Returns, Routing, Weights
from mmdrex.engines.drawing import keep_plots_headless
from mmdrex.engines.guard import checked_target
from mmdrex.engines.planning import by_symbol
from mmdrex.engines.routed_strategy import MMDREXStrategy
from mmdrex.engines.sleeve import Sleeve
from mmdrex.engines.sleeve_strategy import Array, SleeveStrategy
from strategies import POOL
from strategies.rule import Rule, did_you_mean

__all__ = [
    "RULES",
    "FractionalCommission",
    "MMDREXStrategy",
    "Returns",
    "Routing",
    "RuleStrategy",
    "SleeveStrategy",
    "TargetStrategy",
    "Weights",
    "backtrader_strategy",
    "make_cerebro",
]

keep_plots_headless()


class TargetStrategy(SleeveStrategy):
    """Trade targets of your own.

    Parameters
    ----------
    target : Series, callable, or dict of str to either
        A Series holds the signed share of the capital, in [-1, 1], known after the close of its
        bar; a callable takes bars (T rows) and returns (T,); a dict gives one per symbol.
    """

    params = (("target", None),)

    def plan_ahead(self, bars: dict[str, pd.DataFrame]) -> dict[str, Array]:
        """Return the targets on the dates of the bars."""
        return {symbol: self._targets(symbol, frame) for symbol, frame in bars.items()}

    def decide(self, due: Sequence[Sleeve]) -> Iterable[float]:
        """Return the last target each producer gives for the bars so far."""
        return [self._targets(sleeve.symbol, sleeve.buffer.frame())[-1] for sleeve in due]

    def _targets(self, symbol: str, bars: pd.DataFrame) -> Array:
        target = self.p.target
        if isinstance(target, Mapping):
            if symbol not in target:
                raise ValueError(
                    f"no target for {symbol!r}; there are {', '.join(map(str, target))}."
                    f"{did_you_mean(symbol, target)}"
                )
            target = target[symbol]
        if callable(target):
            target = target(bars)
        elif isinstance(target, pd.Series):
            target = target.reindex(bars.index)
        else:
            raise TypeError(
                "target must be a Series, a function of bars, or a dict of them by symbol; got "
                f"{type(target).__name__}"
            )
        return checked_target(bars, target)


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


def backtrader_strategy(name: str) -> type[RuleStrategy]:
    """Return the ``bt.Strategy`` subclass of a rule.

    Parameters
    ----------
    name : str
        A key of ``strategies.POOL``.

    Raises
    ------
    ValueError
        For an unknown rule.
    """
    if name not in RULES:
        raise ValueError(
            f"no rule {name!r}; the rules are {', '.join(RULES)}.{did_you_mean(name, RULES)}"
        )
    return RULES[name]


class FractionalCommission(bt.CommInfoBase):  # type: ignore[misc]  # backtrader is untyped
    """Percent commission, as a fraction of the traded value, on fractions of a share."""

    params = (
        ("stocklike", True),
        ("commtype", bt.CommInfoBase.COMM_PERC),
        ("percabs", True),
    )

    def getsize(self, price: float, cash: float) -> float:
        """Return the shares that ``cash`` buys, not rounded."""
        return float(self.p.leverage * cash / price)


def make_cerebro(
    bars: pd.DataFrame | Mapping[str, pd.DataFrame],
    cash: float = 100_000.0,
    fees: float = 0.0,
    slippage: float = 0.0,
) -> bt.Cerebro:
    """Return a Cerebro whose equity equals vectorbt's on the same targets.

    Orders are sized at the open that fills them, in fractions of a share.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5), or dict of str to DataFrame
        Bars of one asset, or of several by symbol.
    cash : float, default 100_000.0
    fees : float, default 0.0
        Fraction of the traded value.
    slippage : float, default 0.0
        Fraction of the price, against the trader.

    Raises
    ------
    BarsError
        If bars are faulty.
    """
    cerebro = bt.Cerebro(cheat_on_open=True)
    cerebro.broker.set_cash(cash)
    cerebro.broker.addcommissioninfo(FractionalCommission(commission=fees))
    cerebro.broker.set_slippage_perc(slippage, slip_open=True, slip_match=True, slip_out=True)
    for symbol, frame in by_symbol(bars).items():
        cerebro.adddata(bt.feeds.PandasData(dataname=validate_bars(frame, symbol)), name=symbol)
    return cerebro
