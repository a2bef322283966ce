"""The explicit tables of the policy pool: one line per rule, one per expert."""

from __future__ import annotations

import pandas as pd

from strategies import (
    atr_breakout,
    bollinger,
    cash,
    kdj,
    long_only,
    ma_cross,
    momentum,
    rsi_swing,
    short_only,
    turtle,
    volume_breakout,
)
from strategies.rule import Rule, did_you_mean

POOL: dict[str, Rule] = {
    "ma_cross": ma_cross.RULE,
    "momentum": momentum.RULE,
    "turtle": turtle.RULE,
    "bollinger": bollinger.RULE,
    "rsi_swing": rsi_swing.RULE,
    "kdj": kdj.RULE,
    "volume_breakout": volume_breakout.RULE,
    "atr_breakout": atr_breakout.RULE,
    "long_only": long_only.RULE,
    "short_only": short_only.RULE,
    "cash": cash.RULE,
}

EXPERTS: dict[str, tuple[str, ...]] = {
    "trend": ("ma_cross", "momentum", "turtle"),
    "reversal": ("bollinger", "rsi_swing", "kdj"),
    "breakout": ("volume_breakout", "atr_breakout"),
    "position": ("long_only", "short_only", "cash"),
}


def targets(name: str, bars: pd.DataFrame, **params: float) -> pd.Series[float]:
    """Return the target of a rule after the close of each bar, in [-1, 1] (share of its capital).

    Parameters
    ----------
    name : str
        A key of ``POOL``.
    bars : DataFrame of shape (T, 5)
        Float columns open, high, low, close, volume on an ascending DatetimeIndex.
    **params : float
        Parameters of the rule to replace; the others keep the values of Appendix A.

    Returns
    -------
    Series of shape (T,)
        Row t is known after the close of bar t and uses rows <= t only; 0 until warm.

    Raises
    ------
    ValueError
        For a name that is not in ``POOL``, or a value that does not fit a parameter.
    TypeError
        For a parameter the rule does not have.

    Examples
    --------
    >>> close = [100.0, 101.0, 99.0]
    >>> index = pd.bdate_range("2024-01-01", periods=3)
    >>> bars = pd.DataFrame(dict.fromkeys(["open", "high", "low", "close", "volume"], close), index)
    >>> targets("short_only", bars).to_list()
    [-1.0, -1.0, -1.0]
    """
    if name not in POOL:
        message = f"no rule {name!r}; the rules are {', '.join(POOL)}."
        raise ValueError(message + did_you_mean(name, POOL))
    rule = POOL[name].with_params(**params)
    return pd.Series(rule.targets(bars), index=bars.index, name=name)
