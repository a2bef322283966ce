"""Accounts of many environments at once, moved by one bar in one compiled loop.

Every account trades by the engines' recipe, with the very functions the equity guard is made of:
a target is decided at the close of a bar, guarded, filled at the next open with fees and slippage,
and the equity is marked at that bar's close.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mmdrex.engines.guard import GuardState, guard_step, order_size

Array = NDArray[np.float64]

RUIN = 0.1  # the growth that a bar is charged with at most: the log of a bankrupt account's is none


class Accounts(NamedTuple):
    """The state of N accounts; every array has shape (N,)."""

    row: NDArray[np.int64]  # the bar whose close is known
    last: NDArray[np.int64]  # the bar on which the episode ends
    cash: Array
    position: Array  # shares, negative when short
    equity: Array  # at the close of row
    raw: Array  # the target asked for last
    target: Array  # the target let through last
    closed: NDArray[np.bool_]
    bankrupt: NDArray[np.bool_]


def open_accounts(number: int) -> Accounts:
    """Return ``number`` accounts that hold nothing and stand on no bar yet."""
    rows = np.zeros((2, number), dtype=np.int64)
    money = np.zeros((5, number))
    flags = np.zeros((2, number), dtype=np.bool_)
    return Accounts(*rows, *money, *flags)


def start_account(accounts: Accounts, i: Any, row: Any, last: Any) -> None:
    """Give account ``i`` a cash of 1 at the close of bar ``row``; ``i`` may be a mask."""
    accounts.row[i], accounts.last[i] = row, last
    accounts.cash[i] = accounts.equity[i] = 1.0
    for array in (accounts.position, accounts.raw, accounts.target):
        array[i] = 0.0
    accounts.closed[i] = accounts.bankrupt[i] = False


@njit(cache=True)
def advance(
    open_: Array,
    close: Array,
    accounts: Accounts,
    action: Array,
    fees: float,
    slippage: float,
    reward: Array,
    ended: NDArray[np.bool_],
) -> None:
    """Trade each account's action, move it by one bar, and fill in what it earned.

    Parameters
    ----------
    open_, close : ndarray of shape (T,)
    accounts : Accounts
    action : ndarray of shape (N,)
        Targets, known after the close of each account's bar.
    fees, slippage : float
    reward : ndarray of shape (N,)
        Filled with the log growth of the equity, at least log(0.1).
    ended : ndarray of bool of shape (N,)
        Filled with whether nothing is left of the equity.
    """
    for i in range(len(action)):
        row, cash, position = accounts.row[i], accounts.cash[i], accounts.position[i]
        before = cash + position * close[row]
        state = GuardState(
            accounts.raw[i], accounts.target[i], accounts.closed[i], accounts.bankrupt[i]
        )
        state, target = guard_step(state, action[i], position, close[row], before)
        row += 1
        if target != accounts.target[i]:
            size = order_size(target, cash, position, open_[row], fees, slippage)
            if size > 0.0:
                cash -= size * open_[row] * (1.0 + slippage) * (1.0 + fees)
            else:
                cash -= size * open_[row] * (1.0 - slippage) * (1.0 - fees)
            position += size
        after = cash + position * close[row]
        accounts.row[i], accounts.cash[i], accounts.position[i] = row, cash, position
        accounts.equity[i] = after
        accounts.raw[i], accounts.target[i] = state.raw, target
        accounts.closed[i], accounts.bankrupt[i] = state.closed, state.bankrupt
        # Paper silent: the reward of D.14 to D.16; log growth adds up to the total return.
        reward[i] = math.log(max(after / before, RUIN))
        ended[i] = after <= 0.0


@njit(cache=True)
def observe(
    features: NDArray[np.float32], accounts: Accounts, observations: NDArray[np.float32]
) -> None:
    """Fill (N, d + 1): the features of each account's bar, and the target it asked for last."""
    width = features.shape[1]
    for i in range(len(observations)):
        row = accounts.row[i]
        for j in range(width):
            observations[i, j] = features[row, j]
        observations[i, width] = accounts.raw[i]
