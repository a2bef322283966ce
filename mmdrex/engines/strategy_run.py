"""A ``bt.Strategy`` of anybody's run under observation, and the laws it keeps and breaks."""

from __future__ import annotations

from typing import Any, NamedTuple

import backtrader as bt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.engines.backtrader import make_cerebro
from mmdrex.engines.contract import (
    CASH,
    CLOSE,
    CUTS,
    FAULTS,
    FEES,
    SLIPPAGE,
    Finding,
    apart,
    check_targets,
    cut_rows,
    day,
    targets_of,
)

Array = NDArray[np.float64]

MOST = 1.0 + 10.0 * (FEES + SLIPPAGE)  # times the equity at stake


class Sent(NamedTuple):
    """An order as it was sent."""

    row: int  # the last bar that was complete or opening
    size: float
    kind: int


class Fill(NamedTuple):
    """A fill."""

    row: int
    size: float
    price: float  # slippage included


class _Watch(bt.Analyzer):  # type: ignore[misc]  # backtrader is untyped
    """Notes orders, fills and the equity at every close."""

    def start(self) -> None:
        self.equity: list[float] = []
        self.sent: list[Sent] = []
        self.refused: list[Sent] = []
        self.fills: list[Fill] = []
        self._seen: dict[int, int] = {}  # fills of an order noted so far

    def notify_order(self, order: Any) -> None:
        if order.status in (order.Submitted, order.Margin):
            created = order.created
            sent = Sent(self._row(created.dt), float(created.size), int(order.exectype))
            (self.sent if order.status == order.Submitted else self.refused).append(sent)
        # A buy that turns a short around may be filled on two bars, whatever its status says.
        bits = list(order.executed.exbits)
        for bit in bits[self._seen.get(order.ref, 0) :]:
            self.fills.append(Fill(self._row(bit.dt), float(bit.size), float(bit.price)))
        self._seen[order.ref] = len(bits)

    def _row(self, number: float) -> int:
        index = self.strategy.data.p.dataname.index
        return int(index.searchsorted(pd.Timestamp(bt.num2date(number))))

    def next(self) -> None:
        self.equity.append(float(self.strategy.broker.getvalue()))

    def prenext(self) -> None:
        self.next()


def check_anything(thing: Any, bars: pd.DataFrame, cuts: int = CUTS) -> list[Finding]:
    """Return the findings for a ``bt.Strategy``, or for a function or object that gives targets.

    Parameters
    ----------
    thing : subclass of bt.Strategy, callable, or object or class with ``targets(bars)``
    bars : DataFrame of shape (T, 5)
    cuts : int

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(thing, type) and issubclass(thing, bt.Strategy):
        return check_strategy(thing, bars, cuts)
    return check_targets(targets_of(thing), bars, cuts)


def equity_of(cerebro: Any) -> Array:
    """Return the equity at each close, shape (T,), of a run of a prepared Cerebro."""
    return np.array(_watched(cerebro).equity)


def _watched(cerebro: Any) -> _Watch:
    cerebro.addanalyzer(_Watch, _name="watch")
    [run] = cerebro.run(stdstats=False)
    watch: _Watch = run.analyzers.watch
    return watch


def _run(strategy: type, bars: pd.DataFrame) -> _Watch:
    cerebro = make_cerebro(bars, CASH, FEES, SLIPPAGE)
    cerebro.addstrategy(strategy)
    return _watched(cerebro)


def check_strategy(strategy: type, bars: pd.DataFrame, cuts: int = CUTS) -> list[Finding]:
    """Return what a ``bt.Strategy`` keeps and breaks, as ``check_targets`` does for a function.

    The prefix law is tried by changing the future: what was sent up to a bar may not depend on
    the bars after it. An order sent in ``next_open`` is compared one bar later than it was sent.

    Parameters
    ----------
    strategy : subclass of bt.Strategy
        Run with its default params.
    bars : DataFrame of shape (T, 5)
    cuts : int
        Futures tried.
    """
    try:
        watch = _run(strategy, bars)
    except FAULTS as error:
        return [Finding("runs", f"{type(error).__name__}: {' '.join(str(error).split())}")]
    again = _run(strategy, bars)
    return [
        Finding("runs"),
        Finding("range", _leverage(watch, bars)),
        Finding("determinism", _difference(bars.index, watch.sent, again.sent)),
        Finding("prefix law", _future_seen(strategy, bars, watch, cuts)),
        Finding("both engines", apart(bars.index, np.array(watch.equity), _replayed(watch, bars))),
    ]


def _leverage(watch: _Watch, bars: pd.DataFrame) -> str:
    """Return the first fill after which more than the whole equity is at stake.

    The exposure is read at the fill and at the close before it: a strategy that sizes its orders
    at a close can't know the gap.
    """
    close = bars["close"].to_numpy()
    held = 0.0
    for fill in watch.fills:
        held += fill.size
        before = watch.equity[fill.row - 1] if fill.row else CASH
        after = watch.equity[fill.row] - held * (close[fill.row] - fill.price)
        at_close = held * close[max(fill.row - 1, 0)] / before
        exposure = min(abs(at_close), abs(held * fill.price / after))
        if exposure > MOST:
            return f"{exposure:.2f} times the equity at stake, {day(bars.index, fill.row)}"
    for order in watch.refused:
        held = sum(fill.size for fill in watch.fills if fill.row <= order.row)
        wanted = abs((held + order.size) * close[order.row] / watch.equity[order.row])
        if wanted > MOST:  # below it the price jumped before the fill
            return (
                f"an order for {wanted:.2f} times the equity, which the broker refused, "
                f"{day(bars.index, order.row)}"
            )
    return ""


def _difference(index: pd.Index, one: list[Sent], other: list[Sent]) -> str:
    for mine, its in zip(one, other, strict=False):
        if mine != its:
            row = min(mine.row, its.row)
            return f"an order of {mine.size:g} shares, then of {its.size:g}, {day(index, row)}"
    if len(one) == len(other):
        return ""
    row = max(one, other, key=len)[min(len(one), len(other))].row
    return f"an order that is not always sent, {day(index, row)}"


def _future_seen(strategy: type, bars: pd.DataFrame, watch: _Watch, cuts: int) -> str:
    for cut in cut_rows(len(bars), cuts):
        try:
            noisy = _run(strategy, _with_another_future(bars, cut))
        except FAULTS as error:
            return f"with other bars from {day(bars.index, cut)} on: {type(error).__name__} {error}"
        mine, its = (
            [order for order in orders if order.row < cut] for orders in (watch.sent, noisy.sent)
        )
        fault = _difference(bars.index, mine, its)
        if fault:
            return f"{fault}, when the bars from {day(bars.index, cut)} on are others"
    return ""


def _with_another_future(bars: pd.DataFrame, cut: int) -> pd.DataFrame:
    """Return the bars with the prices from row ``cut`` on halved to doubled at random."""
    factor = np.random.default_rng(cut).uniform(0.5, 2.0, (len(bars) - cut, 1))
    changed = bars.copy()
    changed.iloc[cut:, :4] = bars.iloc[cut:, :4].to_numpy() * factor
    return changed


def _replayed(watch: _Watch, bars: pd.DataFrame) -> Array:
    """Return vectorbt's equity (T,) of the same fills."""
    import vectorbt as vbt

    size, value = np.zeros(len(bars)), np.zeros(len(bars))
    for fill in watch.fills:
        size[fill.row] += fill.size
        value[fill.row] += fill.size * fill.price
    traded = np.abs(size) > CLOSE
    price = np.where(traded, value / np.where(traded, size, 1.0), bars["open"].to_numpy())
    portfolio = vbt.Portfolio.from_orders(
        bars["close"],
        size=np.where(traded, size, np.nan),
        size_type="amount",
        price=price,
        fees=FEES,
        init_cash=CASH,
        freq="1D",
    )
    equity: Array = portfolio.value().to_numpy()
    return equity
