"""What ``cerebro.plot()`` shows: lines filled from arrays the strategy already has."""

from __future__ import annotations

import array
import os
import sys
from typing import Any

import backtrader as bt
import numpy as np


class Drawn(bt.Indicator):  # type: ignore[misc]  # backtrader is untyped
    """One array of a sleeve's ``drawn`` table as a line; it computes nothing.

    Parameters
    ----------
    sleeve : Sleeve
    name : str
        Key in ``sleeve.drawn``.
    """

    lines: Any = ("value",)
    params = (("sleeve", None), ("name", ""))

    def _plotlabel(self) -> list[str]:
        return []  # the name says it; backtrader would print the parameters behind it

    def next(self) -> None:
        """Show the newest value, which the strategy takes first where nothing is planned ahead."""
        self._owner.take_targets()
        self.lines.value[0] = self.p.sleeve.drawn[self.p.name][len(self.data) - 1]

    def once(self, start: int, end: int) -> None:
        """Show rows ``start`` to ``end`` of what was planned ahead."""
        values = np.asarray(self.p.sleeve.drawn[self.p.name][start:end], dtype=np.float64)
        self.lines.value.array[start:end] = array.array("d", values)


def keep_plots_headless() -> None:
    """Leave matplotlib's backend as it is where backtrader would ask for a window it can't have.

    ``cerebro.plot()`` imports ``backtrader.plot``, and that chooses TkAgg. Where there is no
    display, import it now and put the backend back.
    """
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    import matplotlib

    before = matplotlib.get_backend(auto_select=False) or "Agg"
    import backtrader.plot  # noqa: F401 - imported for what it does

    matplotlib.use(before, force=True)
