"""Source ``yahoo``: daily prices from Yahoo Finance through yfinance (an optional dependency)."""

from __future__ import annotations

import pandas as pd

from mmdrex.data.bars import validate_bars
from mmdrex.errors import BarsError


def yahoo_bars(symbol: str, start: str | None = None, end: str | None = None) -> pd.DataFrame:
    """Return daily bars from Yahoo Finance, adjusted for splits and dividends.

    Parameters
    ----------
    symbol : str
        Yahoo's ticker, such as ``"AAPL"`` or ``"BTC-USD"``.
    start, end : str, optional
        Dates; the whole history by default, ``end`` exclusive.

    Returns
    -------
    DataFrame of shape (T, 5)
        yfinance leaves out days on which Yahoo has no price at all.

    Raises
    ------
    ImportError
        If yfinance is not installed.
    BarsError
        If Yahoo has no prices for the ticker, or refuses to answer.
    """
    try:
        import yfinance
    except ImportError:
        raise ImportError("the source yahoo needs yfinance: pip install 'mmdrex[yahoo]'") from None
    # Not auto_adjust: the adjustment is then the one written down in spelling.py.
    options = {"interval": "1d", "auto_adjust": False, "actions": False}
    span = {"start": start, "end": end} if start or end else {"period": "max"}
    try:
        frame = yfinance.Ticker(symbol).history(**span, **options)
    except yfinance.exceptions.YFException as error:
        raise BarsError(f"Yahoo refused {symbol!r}: {error}; try again later") from None
    if frame.empty:
        raise BarsError(
            f"Yahoo has no prices for {symbol!r} in that span; check the ticker and the network"
        )
    return validate_bars(frame, symbol)
