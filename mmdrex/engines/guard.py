"""The equity guard: one function of bars, target and costs that both engines trade behind.

It simulates the account by the recipe on which the engines agree: a changed target is decided at
the close of bar t and filled at the open of bar t + 1, sized at that open, with percent fees and
slippage, a buy never costing more than the cash. Where an account is nearly gone:

- a target of 0 orders exactly the whole position, whatever the equity is;
- any other target is not ordered at an open at which the equity is at or below zero;
- a buy that the cash cannot pay is filled in part, and the rest is not sent again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import ArrayLike, NDArray

SHARE = 0.25  # a short is closed when its equity falls under this share of its market value
BUY_MARGIN = 1.0 - 1e-12  # keeps the cost of a clamped buy from rounding above the cash


class GuardState(NamedTuple):
    """What the guard remembers from one close to the next."""

    raw: float = 0.0  # the target asked for at the last close
    target: float = 0.0  # the target that was let through
    closed: bool = False  # a short was closed and the raw target has not changed since
    bankrupt: bool = False


@njit(cache=True)
def guard_step(
    state: GuardState, raw: float, position: float, close: float, equity: float
) -> tuple[GuardState, float]:
    """Return the state after the close of a bar and the target let through, in [-1, 1].

    Parameters
    ----------
    state : GuardState
        The state after the bar before.
    raw : float
        The target asked for at this close.
    position : float
        Shares held at this close, negative when short.
    close : float
        The close of the bar.
    equity : float
        Cash plus market value at this close.
    """
    bankrupt = state.bankrupt or equity <= 0.0
    closed = raw == state.raw and (
        state.closed or (position < 0.0 and equity < SHARE * -position * close)
    )
    target = 0.0 if bankrupt or closed else raw
    return GuardState(raw, target, closed, bankrupt), target


@njit(cache=True)
def order_size(
    target: float, cash: float, position: float, price: float, fees: float, slippage: float
) -> float:
    """Return the shares to buy (positive) or sell (negative) at the open ``price`` for ``target``.

    Parameters
    ----------
    target : float
        Signed share of the equity, in [-1, 1].
    cash, position : float
        Cash, and shares held, before the order.
    price : float
        The open at which the order is filled, before slippage.
    fees, slippage : float
        Fractions of the traded value and of the price.
    """
    equity = cash + position * price
    if target == 0.0:
        size = -position
    elif equity <= 0.0:
        size = 0.0
    else:
        size = target * equity / price - position
    if size > 0.0:
        affordable = cash / (price * (1.0 + slippage) * (1.0 + fees)) * BUY_MARGIN
        size = min(size, max(affordable, 0.0))
    return size


@njit(cache=True)
def _simulate(
    open_: NDArray[np.float64],
    close: NDArray[np.float64],
    raw: NDArray[np.float64],
    fees: float,
    slippage: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    guarded, equity = np.empty(len(raw)), np.empty(len(raw))
    state = GuardState(0.0, 0.0, False, False)
    cash, position, ordered, target = 1.0, 0.0, False, 0.0
    for t in range(len(raw)):
        if ordered:
            size = order_size(target, cash, position, open_[t], fees, slippage)
            if size > 0.0:
                cash -= size * open_[t] * (1.0 + slippage) * (1.0 + fees)
            else:
                cash -= size * open_[t] * (1.0 - slippage) * (1.0 - fees)
            position += size
        equity[t] = cash + position * close[t]
        before = target
        state, target = guard_step(state, raw[t], position, close[t], equity[t])
        ordered = target != before
        guarded[t] = target
    return guarded, equity


@njit(cache=True)
def guard_windows(
    open_: NDArray[np.float64],
    close: NDArray[np.float64],
    raw: NDArray[np.float64],
    fees: float,
    slippage: float,
) -> NDArray[np.float64]:
    """Return the targets (N, W) let through in N windows, each traded from cash.

    Parameters
    ----------
    open_, close, raw : ndarray of shape (N, W)
        Row by row the bars of one window and the targets known after their closes.
    fees, slippage : float
        Fractions of the traded value and of the price.
    """
    guarded = np.empty(raw.shape)
    for i in range(len(raw)):
        guarded[i], _ = _simulate(open_[i], close[i], raw[i], fees, slippage)
    return guarded


def checked_target(bars: pd.DataFrame, target: ArrayLike) -> NDArray[np.float64]:
    """Return ``target`` as float64 of shape (T,), one value per row of ``bars``, in [-1, 1].

    Raises
    ------
    ValueError
        If the length or the index differs from the bars', or a value is NaN or outside [-1, 1].
    """
    if isinstance(target, pd.Series) and not target.index.equals(bars.index):
        raise ValueError(
            "the index of target differs from the index of bars; use target.reindex(bars.index)"
        )
    values = np.asarray(target, dtype=np.float64)
    if values.shape != (len(bars),):
        raise ValueError(f"target must have shape ({len(bars)},) like bars; got {values.shape}")
    wrong = ~(np.abs(values) <= 1.0 + 1e-9)  # a blend's rounding is let through, NaN is not
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"target must lie in [-1, 1]; got {values[row]} at {bars.index[row]}: "
            "scale it, or use target.fillna(0).clip(-1, 1)"
        )
    return values.clip(-1.0, 1.0)


def _run(
    bars: pd.DataFrame, target: ArrayLike, fees: float, slippage: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    raw = checked_target(bars, target)
    open_, close = (bars[name].to_numpy(dtype=np.float64) for name in ("open", "close"))
    guarded, equity = _simulate(open_, close, raw, fees, slippage)
    return guarded, equity


def guard(
    bars: pd.DataFrame, target: ArrayLike, fees: float = 0.0, slippage: float = 0.0
) -> NDArray[np.float64]:
    """Return the target that may be traded, of shape (T,), in [-1, 1]; the prefix law holds.

    A short whose equity at a close is under 25 % of its market value is closed and stays closed
    until the raw target changes. Equity at or below zero at a close means target 0 for good.

    Parameters
    ----------
    bars : pandas.DataFrame of shape (T, 5)
        Validated bars.
    target : array_like of shape (T,)
        Signed share of the capital, in [-1, 1], known after the close of its bar.
    fees : float, default 0.0
        Fraction of the traded value.
    slippage : float, default 0.0
        Fraction of the price, against the trader.

    Raises
    ------
    ValueError
        If target does not fit the bars or leaves [-1, 1].
    """
    return _run(bars, target, fees, slippage)[0]


def simulate(
    bars: pd.DataFrame,
    target: ArrayLike,
    fees: float = 0.0,
    slippage: float = 0.0,
    cash: float = 100_000.0,
) -> NDArray[np.float64]:
    """Return the equity at each close, of shape (T,), of trading ``target`` behind the guard.

    Parameters
    ----------
    bars : pandas.DataFrame of shape (T, 5)
        Validated bars.
    target : array_like of shape (T,)
        Signed share of the capital, raw or guarded: the guard changes nothing the second time.
    fees, slippage : float, default 0.0
        Fraction of the traded value, and of the price.
    cash : float, default 100_000.0
        The equity before the first order.

    Raises
    ------
    ValueError
        If target does not fit the bars or leaves [-1, 1].
    """
    return cash * _run(bars, target, fees, slippage)[1]
