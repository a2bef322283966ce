"""The text L of an observation: MM-DREX, Listing 3, with the numbers of Tables 13 and 14."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmdrex.observation.features import Row, Table
from strategies import EXPERTS
from strategies.rule import Rule

CLOSES = 10  # Listing 3, line 26
DIGITS = 4  # significant digits of a price: a fixed count, so that its scale does not matter
STABLE = 0.05  # Paper silent: an ATR within 5 % of its mean is stable
_UNITS = ("", "K", "M", "B", "T")


class Account(NamedTuple):
    """What the account holds after the close of the decision bar."""

    cash: float
    shares: float
    value: float  # cash plus shares at the last close


def significant(value: float, digits: int = DIGITS) -> str:
    """Return a number with a fixed count of significant digits and no exponent.

    Examples
    --------
    >>> significant(68500.5), significant(5.1), significant(0.00123456), significant(68500.7, 5)
    ('68500', '5.100', '0.001235', '68501')
    """
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    decimals = digits - 1 - int(exponent)
    return f"{float(f'{mantissa}e{exponent}'):.{max(0, decimals)}f}"


def cents(close: float) -> int:
    """Return the power of ten that makes a price below 1 at least 1; 0 for the others.

    Leading zeros say little and cost a token each.
    """
    return max(0, -int(f"{close:e}".split("e")[1]))


def volume_text(volume: float) -> str:
    """Return a volume with three significant digits and a unit, such as ``"20.5M"``."""
    unit = 0
    while volume >= 999.5 and unit < len(_UNITS) - 1:
        volume, unit = volume / 1000.0, unit + 1
    return f"{volume:.3g}{_UNITS[unit]}"


def menu(pool: Mapping[str, Rule], experts: Mapping[str, Sequence[str]] = EXPERTS) -> str:
    """Return the rules by expert, one line each, from the parameters they trade with."""
    lines = ["Available strategies:"]
    for expert, names in experts.items():
        lines.append(f"[{expert.capitalize()}]")
        lines += [
            f"- {pool[name].title}: {pool[name].describe(pool[name].params)}" for name in names
        ]
    return "\n".join(lines)


def moving_average_order(ma10: float, ma20: float, ma100: float) -> str:
    """Return Table 14's moving average state."""
    if ma10 > ma20 > ma100:
        return "Bullish order"
    return "Bearish order" if ma10 < ma20 < ma100 else "Mixed"


def momentum_strength(rsi: float) -> str:
    """Return Table 14's momentum strength."""
    if rsi < 30.0:
        return "Oversold"
    return "Overbought" if rsi > 70.0 else "Neutral"


def volatility_change(atr: float, atr_mean: float) -> str:
    """Return Table 14's volatility change: the ATR against its mean over the 14 bars before."""
    if atr > atr_mean * (1.0 + STABLE):
        return "Increasing volatility"
    return "Decreasing volatility" if atr < atr_mean * (1.0 - STABLE) else "Stable volatility"


def _account_line(account: Account, row: Row, anonymous: bool) -> str:
    """Return Listing 3's line 3; shares of the whole where amounts would tell the price."""
    if anonymous:
        cash, held = account.cash / account.value, account.shares * row.close / account.value
        return f"Account: cash {cash:.1%}, position {held:.1%} of total value"
    return (
        f"Account balance: {account.cash:.0f}, shares held: {account.shares:.5g}, "
        f"total value: {account.value:.0f}"
    )


def _market(table: Table, t: int, lookback: int, row: Row, anonymous: bool) -> str:
    """Return the numbers: Table 13 and what Listing 3 prints beside it."""
    unit = 100.0 / row.close if anonymous else 10.0 ** cents(row.close)

    def price(value: float) -> str:
        return significant(value * unit)

    closes = " ".join(price(value) for value in table["close"][t - CLOSES + 1 : t + 1].tolist())
    band = row.upper - row.lower
    position = (row.close - row.lower) / band if band > 0.0 else 0.5
    amounts = f"{volume_text(row.volume)}, 5-day mean {volume_text(row.volume_mean)}, "
    since = row.close / float(table["close"][t - lookback]) - 1.0
    momentum = row.close / float(table["close"][t - 10]) - 1.0
    month = table[t - 19 : t + 1]
    reach = float(month["high"].max() - month["low"].min()) / row.close
    return "\n".join(
        (
            f"Last {CLOSES} closes: {closes}",
            f"MA10 {price(row.ma10)}, MA20 {price(row.ma20)}, MA100 {price(row.ma100)}",
            f"RSI(14) {row.rsi:.1f}",
            f"Bollinger: upper {price(row.upper)}, lower {price(row.lower)}, "  # middle is MA20
            f"width {band / row.middle:.1%}, price at {position:.1%}",
            f"KDJ: K {row.k:.1f}, D {row.d:.1f}, J {row.j:.1f}",
            f"Volume: {'' if anonymous else amounts}ratio {row.volume_ratio:.2f}",
            f"Change {row.change:.2%}, amplitude {row.amplitude:.2%}, "
            f"ATR(14) {row.atr / row.close:.2%}, volatility {row.volatility:.2%}",
            # eq. E.8; Paper silent: the other spans. The 20-day range is a share of the close.
            f"Last return over the past {lookback} days {since:.1%}, 10-day momentum "
            f"{momentum:.1%}, 20-day range {reach:.1%}",
        )
    )


def prompt(
    table: Table,
    t: int,
    symbol: str,
    lookback: int,
    pool: Mapping[str, Rule],
    account: Account | None = None,
    anonymous: bool = False,
    experts: Mapping[str, Sequence[str]] = EXPERTS,
) -> str:
    """Return the prompt that follows chart and series, known after the close of bar ``t``.

    It ends with the question; the router's chat template adds the start of the answer.

    Parameters
    ----------
    table : recarray of shape (T,)
        From ``indicator_table``; every field must be warm at ``t``.
    t : int
        Row of the decision bar, at least ``98 + lookback``.
    symbol : str
    lookback : int
        Bars of the chart.
    pool : mapping of str to Rule
        The rules that will trade, with their live parameters.
    account : Account, optional
        Adds a line with what the account holds.
    anonymous : bool
        No symbol and no amounts, and prices on a scale where the last close is 100: a model can't
        recognise the asset from memory. (A date is never printed.)
    experts : mapping of str to names of rules
        How the menu is grouped.
    """
    row = Row._make(table[t].item())
    name = "an asset" if anonymous else symbol
    small = cents(row.close)
    state = (
        moving_average_order(row.ma10, row.ma20, row.ma100),
        momentum_strength(row.rsi),
        volatility_change(row.atr, row.atr_mean),
    )
    parts = [
        "You are a professional quantitative trader; choose the best trading strategy for "
        f"{name}.\nCurrent price: {significant(100.0 if anonymous else row.close, 5)}",
        *([] if account is None else [_account_line(account, row, anonymous)]),
        menu(pool, experts),
        "Market:" if anonymous or not small else f"Market, prices in {10.0**-small:.{small}f}:",
        _market(table, t, lookback, row, anonymous),
        f"Judgment: {', '.join(state)}",
        "Select the strategy most suitable for the current market.",
    ]
    return "\n".join(parts)
