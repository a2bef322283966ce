"""A trading rule: what it is made of, and how its names and parameters are checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


Features = np.recarray[tuple[int], np.dtype[np.record]]
Array = NDArray[np.float64]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the known name closest to ``name``, else ""."""
    spelling = {other.lower(): other for other in known}
    close = get_close_matches(name.lower(), spelling, n=1)
    return f" Did you mean {spelling[close[0]]!r}?" if close else ""


def pack(**columns: Array) -> Features:
    """Return the columns, each of shape (T,), as one record array of shape (T,)."""
    rows = len(next(iter(columns.values())))
    table = np.empty(rows, np.dtype((np.record, [(name, np.float64) for name in columns])))
    for name, values in columns.items():
        table[name] = values
    return table.view(np.recarray)


@dataclass(frozen=True)
class Rule:
    """A rule of the policy pool (MM-DREX, Appendix A): from bars to targets, written once.

    Parameters
    ----------
    name : str
        Key of the rule in ``POOL``, for instance "ma_cross".
    title : str
        How the prompt of Listing 3 prints it, for instance "MACross".
    params : NamedTuple
        The live parameters; the defaults are those of Appendix A.
    features : callable (bars, params) -> recarray of shape (T,)
        What the rule looks at. Row t is known after the close of bar t; fields are NaN until warm.
    flat : NamedTuple
        The state before the first bar.
    step : callable (state, row, params) -> (state, target)
        One bar, compiled by numba. A row with a NaN gives target 0 and leaves the state as it was.
    scan : callable (features, params) -> ndarray of shape (T,)
        ``step`` over all rows, flat at the first; cached by numba across processes.
    describe : callable (params) -> str
        The sentence the prompt prints behind the title.
    """

    name: str
    title: str
    params: Any
    features: Callable[[pd.DataFrame, Any], Features]
    flat: Any
    step: Callable[[Any, Any, Any], tuple[Any, float]]
    scan: Callable[[Features, Any], Array]
    describe: Callable[[Any], str]

    def with_params(self, **overrides: float) -> Rule:
        """Return the rule with some parameters replaced, each kept in its default's type.

        Raises
        ------
        TypeError
            For a parameter the rule does not have, or a value that is no number.
        ValueError
            For a value that does not fit: a fraction for a number of bars, no layers, infinity.
        """
        known = self.params._asdict()
        for name in overrides:
            if name not in known:
                have = ", ".join(known) or "none"
                raise TypeError(
                    f"rule {self.name} has no parameter {name!r}; it has {have}."
                    + did_you_mean(name, known)
                )
        typed = {name: _typed(self.name, name, known[name], overrides[name]) for name in overrides}
        return replace(self, params=self.params._replace(**typed))

    def targets(self, bars: pd.DataFrame) -> Array:
        """Return the target after the close of each bar, shape (T,), in [-1, 1]; 0 until warm."""
        return self.scan(self.features(bars, self.params), self.params)


def _typed(rule: str, name: str, default: float, value: float) -> float:
    """Return ``value`` in the type of ``default``: numba compiles anew for every other type."""
    if isinstance(default, bool):
        if value not in (True, False):
            raise ValueError(f"{rule}: {name} must be True or False, not {value!r}")
        return bool(value)
    if not isinstance(value, Real):
        raise TypeError(f"{rule}: {name} must be a number, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{rule}: {name} must be finite, not {value!r}")
    if isinstance(default, float):
        return float(value)
    least = 1 if name in ("L", "U") else 2  # layers and units; all others count bars
    if value != int(value) or value < least:
        raise ValueError(f"{rule}: {name} must be a whole number from {least} up, not {value!r}")
    return int(value)
