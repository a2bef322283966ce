"""What anybody's targets have to keep, checked: range, determinism, prefix law, both engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mmdrex.engines.guard import checked_target

Array = NDArray[np.float64]
Producer = Callable[[pd.DataFrame], ArrayLike]

FEES, SLIPPAGE, CASH = 0.001, 0.0005, 100_000.0
CLOSE = 1e-9  # relative, of two equity curves; absolute, of two targets
CUTS = 50
# What a faulty function of a user's raises; anything else is not about its bars.
FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Finding:
    """One law, and where it is broken.

    Attributes
    ----------
    law : str
    fault : str
        What is broken and at which bar; empty where the law holds.
    """

    law: str
    fault: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing is broken."""
        return not self.fault


def targets_of(thing: Any) -> Producer:
    """Return the function of bars that a function, or an object or class with ``targets``, means.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    made = thing() if isinstance(thing, type) else thing
    found = getattr(made, "targets", made)
    if not callable(found):
        raise ValueError(f"{thing!r} is no function of bars and has no method targets(bars)")
    function: Producer = found
    return function


def cut_rows(rows: int, cuts: int = CUTS) -> list[int]:
    """Return the lengths of the prefixes that are tried: the first few bars, the rest at random."""
    early = [row for row in (1, 2, 25) if row < rows]
    late = np.random.default_rng(0).choice(rows - 1, min(cuts, rows - 1), replace=False) + 1
    return sorted({*early, *late[: cuts - len(early)].tolist()})


def check_targets(produce: Producer, bars: pd.DataFrame, cuts: int = CUTS) -> list[Finding]:
    """Return what a function from bars to targets keeps and breaks.

    Parameters
    ----------
    produce : callable
        Takes bars (T rows), returns targets of shape (T,).
    bars : DataFrame of shape (T, 5)
    cuts : int
        Prefixes tried for the prefix law.

    Returns
    -------
    list of Finding
        ``range`` alone where that fails, as nothing else can be tried then.
    """
    try:
        whole = _targets(produce, bars)
    except FAULTS as error:
        return [Finding("range", _said(error))]
    findings = [
        Finding("range"),
        Finding("bars left alone", _changed_bars(produce, bars)),
        Finding("determinism", _second_answer(produce, bars, whole)),
        Finding("prefix law", _future_seen(produce, bars, whole, cuts)),
    ]
    from mmdrex.engines.backtrader import TargetStrategy, make_cerebro
    from mmdrex.engines.strategy_run import equity_of
    from mmdrex.engines.vectorbt import vectorbt_portfolio

    cerebro = make_cerebro(bars, CASH, FEES, SLIPPAGE)
    cerebro.addstrategy(TargetStrategy, target=pd.Series(whole, bars.index))
    value = vectorbt_portfolio(bars, whole, FEES, SLIPPAGE, CASH).value().to_numpy()
    return [*findings, Finding("both engines", apart(bars.index, equity_of(cerebro), value))]


def _targets(produce: Producer, bars: pd.DataFrame) -> Array:
    return checked_target(bars, produce(bars.copy()))


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def _changed_bars(produce: Producer, bars: pd.DataFrame) -> str:
    given = bars.copy()
    produce(given)
    if list(given.columns) != list(bars.columns) or not given.index.equals(bars.index):
        return "it changes the columns or the index of the bars it is given"
    row = first_difference(given.to_numpy(), bars.to_numpy(), 0.0)
    return "" if row is None else f"it changes the bar of {day(bars.index, row)}"


def _second_answer(produce: Producer, bars: pd.DataFrame, whole: Array) -> str:
    again = _targets(produce, bars)
    row = first_difference(again, whole, 0.0)
    if row is None:
        return ""
    return f"{whole[row]:g}, asked again {again[row]:g}, at {day(bars.index, row)}"


def _future_seen(produce: Producer, bars: pd.DataFrame, whole: Array, cuts: int) -> str:
    for cut in cut_rows(len(bars), cuts):
        try:
            prefix = _targets(produce, bars.iloc[:cut])
        except FAULTS as error:
            return f"with the first {cut} bars only: {_said(error)}"
        row = first_difference(prefix, whole[:cut], CLOSE)
        if row is not None:
            return (
                f"{prefix[row]:g} at {day(bars.index, row)} while the bars end on "
                f"{day(bars.index, cut - 1)}, {whole[row]:g} once later bars are known"
            )
    return ""


def apart(index: pd.Index, one: Array, other: Array) -> str:
    """Return where two equity curves (T,) part by more than 1e-9, or nothing."""
    scale = np.maximum(np.abs(one), np.abs(other))
    row = first_difference(one / scale, other / scale, CLOSE)
    if row is None:
        return ""
    return f"equity {one[row]:.2f} in backtrader, {other[row]:.2f} in vectorbt, {day(index, row)}"


def first_difference(one: Array, other: Array, tolerance: float) -> int | None:
    """Return the first row in which two arrays differ, or None."""
    differs = ~(np.abs(one - other) <= tolerance)
    rows = np.flatnonzero(differs.reshape(len(differs), -1).any(axis=1))
    return int(rows[0]) if len(rows) else None


def day(index: pd.Index, row: int) -> str:
    """Return the date of a row and its number."""
    return f"{index[row]:%Y-%m-%d} (bar {row})"


def broken(findings: Sequence[Finding]) -> bool:
    """Return whether any law is broken."""
    return not all(finding.holds for finding in findings)
