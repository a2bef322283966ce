"""The contract of a baseline: fitted on one split, chosen on another, targets under the prefix law.

A baseline is a dataclass whose fields are its settings. What it learns lives in attributes that
are no fields; ``save`` writes both, as JSON and safetensors (LightGBM in its own text), never as a
pickle.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.data.bars import periods_per_year
from mmdrex.data.files import replacing
from mmdrex.data.splits import split_range
from strategies.rule import did_you_mean

Array = NDArray[np.float64]
Frames = Mapping[str, pd.DataFrame]

RECORD = "baseline.json"


class Baseline(ABC):
    """What every baseline promises; a subclass is a dataclass of its settings.

    Attributes
    ----------
    name : str
        Its key in ``BASELINES``.
    learns : bool
        Whether it has to be fitted before it trades.
    later : tuple of str
        Settings that what it learned does not rest on.
    trained : tuple of (str, str) or None
        First and last day of the bars it was fitted and chosen on; None where nothing is learned.
    """

    name: ClassVar[str]
    learns: ClassVar[bool] = False
    later: ClassVar[tuple[str, ...]] = ()
    trained: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            value = getattr(self, field.name)
            if type(value) is not type(field.default) and not (
                isinstance(field.default, float) and type(value) is int
            ):
                kind = type(field.default).__name__
                raise TypeError(f"{self.name}: {field.name} must be of type {kind}, not {value!r}")
            if type(value) is int and value < (0 if field.name == "seed" else 1):
                raise ValueError(f"{self.name}: {field.name} must be positive, not {value}")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name, as the constructor takes them."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # subclasses are dataclasses

    @classmethod
    def with_settings(cls, **settings: Any) -> Self:
        """Return the baseline with some settings replaced.

        Raises
        ------
        TypeError
            For a setting the baseline does not have, or a value of another type.
        ValueError
            For a number that is not positive.
        """
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # a dataclass too
        for name in settings:
            if name not in known:
                raise TypeError(
                    f"{cls.name} has no setting {name!r}; it has {', '.join(known) or 'none'}."
                    f"{did_you_mean(name, known)}"
                )
        return cls(**settings)

    def changed(self, **settings: Any) -> Self:
        """Return the same fitted baseline with some settings replaced.

        Raises
        ------
        TypeError, ValueError
            For what ``with_settings`` refuses, and for a setting that what was learned rests on.
        """
        type(self).with_settings(**{**self.settings, **settings})
        for name in settings:
            if self.trained is not None and name not in self.later:
                raise ValueError(
                    f"{self.name} was fitted with {name} {getattr(self, name)!r}: fit it again "
                    f"to change it; what can be changed: {', '.join(self.later) or 'nothing'}"
                )
        changed = copy.copy(self)
        for name, value in settings.items():
            setattr(changed, name, value)
        return changed

    def fit(self, train: Frames, select: Frames) -> Self:
        """Learn from ``train``, choose thresholds and the stopping point on ``select``.

        Parameters
        ----------
        train : mapping of str to DataFrame of shape (T, 5)
            Bars by symbol; a rule learns nothing from them.
        select : mapping of str to DataFrame
            Later bars. Rows up to the last row of the symbol's ``train`` are warm-up: look-backs
            read them, outcomes do not. Validation is never given.
        """
        return self

    def targets(self, bars: pd.DataFrame) -> pd.Series:
        """Return the signed share of the capital, shape (T,), in [-1, 1], 0 until warm.

        Row t is known after the close of bar t and does not change with later bars.
        ``attrs["trained"]`` holds the training dates of a learned baseline, ``attrs["stamps"]``
        what its figures must say (``mmdrex.engines.planning.stamps_of``).

        Raises
        ------
        ValueError
            If the baseline has to be fitted first.
        """
        series = pd.Series(self.decide(bars), index=bars.index, name="target", dtype=np.float64)
        if self.trained is not None:
            series.attrs["trained"] = self.trained
        if stamps := self.stamps():
            series.attrs["stamps"] = stamps
        return series

    def stamps(self) -> dict[str, str | None]:
        """Return what figures of the baseline must say, each with the last day it holds for."""
        return {}

    @abstractmethod
    def decide(self, bars: pd.DataFrame) -> Array:
        """Return the targets (T,) as an array."""

    def save(self, folder: str | Path) -> None:
        """Write the settings and what was learned to ``folder``, which is replaced as a whole."""
        record = {
            "baseline": self.name,
            "settings": self.settings,
            "trained": self.trained,
            "learned": self.learned(),
        }
        with replacing(folder) as aside:
            aside.mkdir()
            text = json.dumps(record, indent=2, allow_nan=False)
            (aside / RECORD).write_text(text + "\n", encoding="utf-8")
            for name, content in self.files().items():
                (aside / name).write_bytes(content)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the baseline that ``save`` wrote; its targets are equal to the saved one's.

        Raises
        ------
        FileNotFoundError
            If there is no record in ``folder``.
        ValueError, TypeError
            If the record is another baseline's, or names an unknown setting.
        """
        record = _record(folder)
        if record["baseline"] != cls.name:
            raise ValueError(f"{folder} holds {record['baseline']!r}, not {cls.name!r}")
        loaded = cls.with_settings(**record["settings"])
        if record["trained"] is not None:
            loaded.trained = tuple(record["trained"])
            loaded.restore(record["learned"], Path(folder))
        return loaded

    # What a learned baseline adds

    def learned(self) -> dict[str, Any]:
        """Return the learned figures that fit into JSON."""
        return {}

    def files(self) -> dict[str, bytes]:
        """Return what does not fit into JSON, by file name."""
        return {}

    def restore(self, learned: dict[str, Any], folder: Path) -> None:
        """Take back what ``learned`` returned and the files that ``files`` returned."""
        raise NotImplementedError

    def require_fitted(self) -> None:
        """Raise ValueError unless the baseline was fitted."""
        if self.trained is None:
            raise ValueError(
                f"{self.name} has learned nothing yet: call fit(train, select), or load a folder "
                f"that `mmdrex fit {self.name}` wrote"
            )


def _record(folder: str | Path) -> dict[str, Any]:
    path = Path(folder) / RECORD
    if not path.is_file():
        below = sorted(found.parent for found in Path(folder).glob(f"**/{RECORD}"))
        hint = f"; there is one in {', '.join(map(str, below[:5]))}" if below else ""
        raise FileNotFoundError(f"no saved baseline in {folder}: it has no {RECORD}{hint}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    wanted = {"baseline", "settings", "trained", "learned"}
    if not isinstance(record, dict) or set(record) != wanted:
        raise ValueError(f"{path} is no record of a baseline; it needs {', '.join(sorted(wanted))}")
    return record


def saved_name(folder: str | Path, known: Iterable[str]) -> str:
    """Return the name of the baseline saved in ``folder``, one of ``known``."""
    name = str(_record(folder)["baseline"])
    if name not in known:
        raise ValueError(f"{folder} holds {name!r}, no baseline.{did_you_mean(name, known)}")
    return name


def by_split(frames: Frames) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Return what ``fit`` takes: bars of the split ``fit``, and bars up to the end of ``select``.

    Symbols without any bar in ``fit`` are left out.
    """
    train, select = {}, {}
    for symbol, bars in frames.items():
        crypto = periods_per_year(pd.DatetimeIndex(bars.index)) == 365
        fitted = bars.loc[: split_range("fit", crypto)[1]]
        if len(fitted):
            train[symbol] = fitted
            select[symbol] = bars.loc[: split_range("select", crypto)[1]]
    return train, select


def outcome_rows(select: pd.DataFrame, train: pd.DataFrame | None) -> NDArray[np.bool_]:
    """Return which rows of ``select``, shape (T,), lie after the last row of ``train``."""
    if train is None:
        return np.ones(len(select), dtype=np.bool_)
    after: NDArray[np.bool_] = np.asarray(select.index > train.index[-1])
    return after


def training_dates(train: Frames, select: Frames) -> tuple[str, str]:
    """Return the first and the last day of all the bars that a fit has seen."""
    if not train:
        raise ValueError("no bars to fit on; give train at least one symbol")
    frames = [frame for frame in (*train.values(), *select.values()) if len(frame)]
    first = min(frame.index[0] for frame in frames)
    last = max(frame.index[-1] for frame in frames)
    return f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"
