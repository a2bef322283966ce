"""MM-DREX and its rules as backtrader strategies, and the Cerebro in which engines agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import backtrader as bt
import pandas as pd

from mmdrex.data.bars import validate_bars
from mmdrex.engines.analyzers import Returns, Routing, Weights
from mmdrex.engines.drawing import keep_plots_headless
from mmdrex.engines.guard import checked_target
from mmdrex.engines.planning import by_symbol
from mmdrex.engines.routed_strategy import MMDREXStrategy
from mmdrex.engines.rule_strategies import (
    KDJ,
    RULES,
    ATRBreakout,
    Bollinger,
    Cash,
    LongOnly,
    MACross,
    Momentum,
    RSISwing,
    RuleStrategy,
    ShortOnly,
    Turtle,
    VolumeBreakout,
    rule_params,
)
from mmdrex.engines.sleeve import Sleeve
from mmdrex.engines.sleeve_strategy import Array, SleeveStrategy
from strategies.rule import did_you_mean

__all__ = [
    "KDJ",
    "RULES",
    "ATRBreakout",
    "Bollinger",
    "Cash",
    "FractionalCommission",
    "LongOnly",
    "MACross",
    "MMDREXStrategy",
    "Momentum",
    "RSISwing",
    "Returns",
    "Routing",
    "RuleStrategy",
    "ShortOnly",
    "SleeveStrategy",
    "TargetStrategy",
    "Turtle",
    "VolumeBreakout",
    "Weights",
    "backtrader_strategy",
    "make_cerebro",
    "rule_params",
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
