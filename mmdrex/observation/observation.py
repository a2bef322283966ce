"""One observation, chart, series and text together, and the builder of all of an asset's."""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from mmdrex.data.windows import first_decision
from mmdrex.errors import TooFewBarsError
from mmdrex.observation.chart import View, draw
from mmdrex.observation.features import COLUMNS, Table, indicator_table, rows
from mmdrex.observation.series import matrix, series
from mmdrex.observation.text import CLOSES, Account, prompt
from strategies import EXPERTS, POOL
from strategies.rule import Rule

DRAWN = (
    *("open", "high", "low", "close", "volume", "ma10", "ma20", "ma100", "upper", "lower"),
    *("dif", "dea", "hist", "rsi", "k", "d", "j"),
)
_DRAWN = [COLUMNS.index(name) for name in DRAWN]


@dataclass(frozen=True, eq=False)
class Observation:
    """What the router sees of one asset after the close of one bar: (V, T, L) of MM-DREX, eq. 1.

    Attributes
    ----------
    symbol : str
    time : pandas.Timestamp
        The decision bar.
    window : recarray of shape (lookback,)
        The rows of ``indicator_table`` the chart is drawn from.
    series : ndarray of float32 of shape (lookback, 17)
        Table 12, relative to the last close.
    text : str
        The prompt.
    """

    symbol: str
    time: pd.Timestamp
    window: Table
    series: NDArray[np.float32]
    text: str

    def chart(self, view: View = "global", size: tuple[int, int] = (840, 672)) -> NDArray[np.uint8]:
        """Return the chart as an image of shape (height, width, 3); ``size`` is (width, height)."""
        return draw(self.window, view, size)

    @cached_property
    def digest(self) -> str:
        """Hex digest of all that the router reads: series, text and the drawn columns."""
        content = hashlib.blake2b(digest_size=16)
        for part in (self.series.tobytes(), self.text.encode(), self._drawn()):
            content.update(len(part).to_bytes(8, "little"))
            content.update(part)
        return content.hexdigest()

    @cached_property
    def drawn(self) -> str:
        """Hex digest of what its charts are drawn from."""
        return hashlib.blake2b(self._drawn(), digest_size=16).hexdigest()

    def _drawn(self) -> bytes:
        return np.ascontiguousarray(matrix(self.window)[:, _DRAWN]).tobytes()

    def _repr_html_(self) -> str:
        png = io.BytesIO()
        Image.fromarray(self.chart()).save(png, "PNG")
        data = base64.b64encode(png.getvalue()).decode()
        title = html.escape(f"{self.symbol}, after the close of {self.time:%Y-%m-%d}")
        return (
            f'<figure style="margin:0"><figcaption><b>{title}</b></figcaption>'
            f'<img alt="candlestick chart" src="data:image/png;base64,{data}"></figure>'
            f'<pre style="white-space:pre-wrap">{html.escape(self.text)}</pre>'
        )


class Observer:
    """The observations of one asset; the indicators are computed once.

    Parameters
    ----------
    bars : DataFrame of shape (T, 5)
        Validated bars.
    symbol : str
        As the prompt prints it.
    lookback : int
        Bars an observation shows; the paper's T_in, 100.
    pool, experts : mappings
        The rules of the prompt's menu and how they are grouped.
    anonymous : bool
        See ``mmdrex.observation.text.prompt``.
    """

    def __init__(
        self,
        bars: pd.DataFrame,
        symbol: str,
        lookback: int = 100,
        pool: Mapping[str, Rule] = POOL,
        anonymous: bool = False,
        experts: Mapping[str, Sequence[str]] = EXPERTS,
    ) -> None:
        if lookback < CLOSES:
            raise ValueError(f"lookback must be at least {CLOSES} bars; got {lookback}")
        self.symbol = symbol
        self.lookback = lookback
        self.pool = pool
        self.anonymous = anonymous
        self.experts = experts
        self.index = pd.DatetimeIndex(bars.index)
        self.table = indicator_table(bars)

    def at(self, t: int, account: Account | None = None) -> Observation:
        """Return the observation after the close of bar ``t``, from ``98 + lookback`` on.

        Raises
        ------
        TooFewBarsError
            If the averages are not warm across the whole look-back yet.
        IndexError
            If there is no bar ``t``.
        """
        first = first_decision(self.lookback)
        if t < first:
            raise TooFewBarsError(
                f"{self.symbol}: bar {t} is too early to observe; a look-back of {self.lookback} "
                f"bars needs bar {first} or later"
            )
        if t >= len(self.table):
            raise IndexError(f"{self.symbol} has {len(self.table)} bars; there is no bar {t}")
        return Observation(
            symbol=self.symbol,
            time=self.index[t],
            window=rows(self.table, t - self.lookback + 1, t + 1),
            series=series(self.table, t, self.lookback),
            text=prompt(
                self.table,
                t,
                self.symbol,
                self.lookback,
                self.pool,
                account,
                self.anonymous,
                self.experts,
            ),
        )
