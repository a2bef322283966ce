"""The position of a rule that trades in layers, each 1/L of the rule's capital.

numba's cache watches the file of the cached function only: after a change here, touch the rules.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import njit


class Position(NamedTuple):
    """A layered position; all zero when flat."""

    direction: int = 0  # 1 long, -1 short
    layers: int = 0
    entry: float = 0.0  # average price of the layers
    last: float = 0.0  # price of the layer added last


FLAT = Position()


@njit(cache=True)
def opened(direction: int, layers: int, price: float) -> Position:
    """Return a position of ``layers`` layers opened at ``price``."""
    # Paper silent: the price a rule records is the close it decided at; the fill comes later.
    return Position(direction, layers, price, price)


@njit(cache=True)
def added(position: Position, price: float) -> Position:
    """Return the position with one more layer at ``price``."""
    # Paper silent: the entry price of several layers is their average, as Algorithm 1 says.
    layers = position.layers + 1
    entry = (position.entry * position.layers + price) / layers
    return Position(position.direction, layers, entry, price)
