"""The feeds of a backtrader run: which are traded, what they are called, and the bars they gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.data.bars import validate_bars
from strategies.rule import did_you_mean

COLUMNS = ("open", "high", "low", "close", "volume")
DAY_END = pd.Timedelta("23:59:59")  # backtrader stamps daily bars of CSV feeds with it


def symbol_of(data: Any, fallback: str) -> str:
    """Return the name of a feed, or that of its DataFrame, or ``fallback``."""
    if data._name:
        return str(data._name)
    frame = getattr(data.p, "dataname", None)
    named = frame.attrs.get("symbol") if isinstance(frame, pd.DataFrame) else None
    return str(named or fallback)


def traded_feeds(datas: Sequence[Any], wanted: Sequence[str | int] | None) -> dict[str, Any]:
    """Return symbol to feed, for the feeds that are traded.

    Parameters
    ----------
    datas : sequence of feeds
        All feeds of the run.
    wanted : sequence of str or int, optional
        Names or indexes; by default all but resampled and replayed clones.

    Raises
    ------
    TypeError
        If ``wanted`` is a bare string or number.
    ValueError
        For a feed that does not exist, two of one name, a replayed feed, or nothing to trade.
    """
    if isinstance(wanted, str | int):
        raise TypeError(
            f"feeds must be a list of names or indexes, not {wanted!r}; wrap it in a list: "
            f"feeds=[{wanted!r}] (optstrategy takes a list of lists)"
        )
    if wanted is None:
        chosen = [
            number
            for number, data in enumerate(datas)
            if not (data._clone and (data.resampling or data.replaying))
        ]
    else:
        chosen = [_number(datas, name) for name in wanted]
    if not chosen:
        raise ValueError("no feed to trade: every feed is a resampled or replayed clone")
    feeds: dict[str, Any] = {}
    for number in chosen:
        if datas[number].replaying:
            raise ValueError("a replayed feed shows unfinished bars; trade the feed it is made of")
        symbol = symbol_of(datas[number], "asset" if len(chosen) == 1 else f"asset{number}")
        if symbol in feeds:
            raise ValueError(f"two feeds are named {symbol!r}; give each its own name in adddata")
        feeds[symbol] = datas[number]
    return feeds


def _number(datas: Sequence[Any], name: str | int) -> int:
    if isinstance(name, int):
        if not -len(datas) <= name < len(datas):
            raise ValueError(f"no feed {name}; there are {len(datas)}, counted from 0")
        return name % len(datas)
    names = [symbol_of(data, f"asset{number}") for number, data in enumerate(datas)]
    if name not in names:
        raise ValueError(
            f"no feed {name!r}; there are {', '.join(names)}.{did_you_mean(name, names)}"
        )
    return names.index(name)


class BarBuffer:
    """The bars one feed has given so far, kept here because backtrader may forget them."""

    def __init__(self, data: Any, symbol: str) -> None:
        self.symbol = symbol
        self._data = data
        self._values = np.empty((256, len(COLUMNS)))
        self.times: list[pd.Timestamp] = []

    def __len__(self) -> int:
        return len(self.times)

    def preloaded(self) -> bool:
        """Return whether bars wait in the feed before the first one is delivered."""
        return bool(self._data.buflen() > len(self._data))

    def whole(self) -> pd.DataFrame:
        """Return all bars of a preloaded feed, checked.

        Raises
        ------
        BarsError
            If the bars are faulty.
        """
        rows = self._data.buflen()
        values = np.column_stack(
            [np.array(getattr(self._data, name).array[:rows]) for name in COLUMNS]
        )
        times = [self._time(number) for number in self._data.datetime.array[:rows]]
        return validate_bars(self._frame(values, times), self.symbol)

    def update(self) -> None:
        """Append the bars delivered since the last call."""
        for ago in range(len(self) - len(self._data) + 1, 1):
            if len(self) == len(self._values):
                self._values = np.concatenate([self._values, np.empty_like(self._values)])
            self._values[len(self)] = [getattr(self._data, name)[ago] for name in COLUMNS]
            self.times.append(self._time(self._data.datetime[ago]))

    def last(self, column: str) -> float:
        """Return the newest value of a column."""
        return float(self._values[len(self) - 1, COLUMNS.index(column)])

    def frame(self, stop: int | None = None) -> pd.DataFrame:
        """Return the first ``stop`` bars given so far, all by default."""
        stop = len(self) if stop is None else stop
        return self._frame(self._values[:stop], self.times[:stop])

    def _frame(self, values: NDArray[np.float64], times: list[pd.Timestamp]) -> pd.DataFrame:
        frame = pd.DataFrame(values, index=pd.DatetimeIndex(times), columns=list(COLUMNS))
        frame.attrs["symbol"] = self.symbol
        return frame

    def _time(self, number: float) -> pd.Timestamp:
        return bar_time(self._data, number)


def bar_time(data: Any, number: float) -> pd.Timestamp:
    """Return the tz-naive time of a bar; the end of a day stands for the day."""
    time = pd.Timestamp(data.num2date(number))
    daily = data.p.timeframe >= bt.TimeFrame.Days
    return time.normalize() if daily and time - time.normalize() >= DAY_END else time
