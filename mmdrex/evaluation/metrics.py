"""Figures of one run from its simple per-bar returns or its targets; fractions throughout."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def equity_returns(equity: ArrayLike) -> Array:
    """Return the simple returns of an equity curve, -1 at its end if it falls to zero or below.

    Parameters
    ----------
    equity : array_like of shape (T + 1,)
        Equity at successive closes, the first before the first return.

    Returns
    -------
    ndarray of shape (T,)
        At the bar where the equity is first at or below zero the return is -1, then 0: what is
        lost beyond the capital does not compound.
    """
    values = np.array(equity, dtype=np.float64)
    gone = np.maximum.accumulate(values <= 0.0)
    values[gone] = 0.0
    returns = np.zeros(len(values) - 1)
    np.divide(values[1:], values[:-1], out=returns, where=values[:-1] > 0.0)
    returns[values[:-1] > 0.0] -= 1.0
    return returns


def total_return(returns: ArrayLike) -> float:
    """Return what the capital grew by, a fraction, at least -1 (MM-DREX, eq. D.1)."""
    return float(np.prod(1.0 + np.asarray(returns, dtype=np.float64)) - 1.0)


def annual_return(returns: ArrayLike, periods: int) -> float:
    """Return the compound growth per year of ``periods`` bars, a fraction."""
    values = np.asarray(returns, dtype=np.float64)
    growth = float((1.0 + total_return(values)) ** (periods / len(values)))
    return growth - 1.0


def volatility(returns: ArrayLike, periods: int) -> float:
    """Return the standard deviation (ddof 1) per year of ``periods`` bars, a fraction."""
    return float(np.std(np.asarray(returns, dtype=np.float64), ddof=1) * np.sqrt(periods))


def raw_sharpe(returns: ArrayLike) -> float:
    """Return mean over standard deviation per bar (MM-DREX, eq. D.2 as printed).

    The risk-free rate is 0, ddof is 1; NaN where all returns are equal.
    """
    values = np.asarray(returns, dtype=np.float64)
    if np.ptp(values) == 0.0:
        return float("nan")
    return float(values.mean() / values.std(ddof=1))


def sharpe(returns: ArrayLike, periods: int) -> float:
    """Return the annualised Sharpe ratio (MM-DREX, eq. D.2), risk-free rate 0, ddof 1.

    Parameters
    ----------
    returns : array_like of shape (T,)
    periods : int
        Bars a year: 252, or 365 where the asset trades every day.

    Returns
    -------
    float
        NaN where all returns are equal.
    """
    # Paper: eq. D.2 is printed without annualisation, its tables look annualised.
    return raw_sharpe(returns) * float(np.sqrt(periods))


def sortino(returns: ArrayLike, periods: int) -> float:
    """Return the annualised mean over the downside deviation; NaN without a loss."""
    values = np.asarray(returns, dtype=np.float64)
    downside = np.sqrt(np.mean(np.minimum(values, 0.0) ** 2))
    if downside == 0.0:
        return float("nan")
    return float(values.mean() / downside * np.sqrt(periods))


def drawdowns(returns: ArrayLike) -> Array:
    """Return the share of the highest equity so far that is lost, of shape (T,), in [0, 1]."""
    equity = np.cumprod(1.0 + np.asarray(returns, dtype=np.float64))
    peak: Array = np.maximum(np.maximum.accumulate(equity), 1.0)
    return 1.0 - equity / peak


def max_drawdown(returns: ArrayLike) -> float:
    """Return the largest share of the highest equity lost, in [0, 1] (MM-DREX, eq. D.3)."""
    return float(drawdowns(returns).max())


def calmar(returns: ArrayLike, periods: int) -> float:
    """Return the annual return over the maximum drawdown; NaN without a drawdown."""
    loss = max_drawdown(returns)
    return annual_return(returns, periods) / loss if loss > 0.0 else float("nan")


def turnover(target: ArrayLike, periods: int) -> float:
    """Return the share of the capital that target changes trade in a year, both ways summed.

    Parameters
    ----------
    target : array_like of shape (T,)
        Before its first value the target is 0. Drift between two changes is not traded.
    periods : int
    """
    changes = np.abs(np.diff(np.asarray(target, dtype=np.float64), prepend=0.0))
    return float(changes.sum() * periods / len(changes))


def exposure(target: ArrayLike) -> float:
    """Return the mean absolute target, in [0, 1]."""
    return float(np.abs(np.asarray(target, dtype=np.float64)).mean())


def net_exposure(target: ArrayLike) -> float:
    """Return the mean target, in [-1, 1]."""
    return float(np.asarray(target, dtype=np.float64).mean())


def summary(returns: ArrayLike, periods: int) -> pd.Series:
    """Return every figure that needs returns only, by name."""
    return pd.Series(
        {
            "TR": total_return(returns),
            "annual return": annual_return(returns, periods),
            "volatility": volatility(returns, periods),
            "Sharpe": sharpe(returns, periods),
            "raw Sharpe": raw_sharpe(returns),
            "Sortino": sortino(returns, periods),
            "MDD": max_drawdown(returns),
            "Calmar": calmar(returns, periods),
        }
    )
