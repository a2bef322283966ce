"""A quantstats tearsheet as one self-contained HTML page that needs no network."""

from __future__ import annotations

import html
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmdrex.data.bars import periods_per_year
from mmdrex.data.files import replacing

_OUTSIDE_ICON = re.compile(r"<link rel=\"shortcut icon\"[^>]*>\s*")
# What quantstats 0.0.86 says on pandas 3, matplotlib 3.11 and numpy 2; none of it is the reader's.
_KNOWN_WARNINGS = r"quantstats|seaborn|matplotlib|numpy|pandas|scipy"
_CATEGORIES = (
    *(FutureWarning, DeprecationWarning, PendingDeprecationWarning),
    *(UserWarning, RuntimeWarning),
)


@dataclass(frozen=True)
class Tearsheet:
    """A tearsheet; shows itself in a notebook."""

    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page, aside first, and return its path."""
        path = Path(path)
        with replacing(path) as aside:
            aside.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="900" frameborder="0"></iframe>'


def tearsheet(
    returns: pd.Series,
    benchmark: pd.Series | None = None,
    path: str | Path | None = None,
    title: str = "MM-DREX",
    in_sample: bool = False,
) -> Tearsheet:
    """Return a quantstats tearsheet of a run, against a benchmark where one is given.

    Parameters
    ----------
    returns : Series of shape (T,)
        Simple returns per bar with a DatetimeIndex; a NaN in the first row counts as 0.
    benchmark : Series, optional
        Simple returns that cover every bar of ``returns``; a NaN in its first row counts as 0.
        Left out, and said so in the title, where the run never traded.
    path : str or Path, optional
        Where the page is written.
    title : str
    in_sample : bool
        Stamps the title IN-SAMPLE: the model was trained on bars it is shown on.

    Raises
    ------
    ValueError
        If a return is missing, or the benchmark does not cover the run's bars.
    """
    import matplotlib.pyplot as plt
    import quantstats

    run = _checked(returns, "returns").rename(None)
    index = pd.DatetimeIndex(run.index)
    against = None if benchmark is None else _covering(benchmark, index)
    stamped = f"{title} (IN-SAMPLE)" if in_sample else title
    if np.ptp(run.to_numpy()) == 0.0:
        # quantstats regresses the benchmark on the run, which a constant makes impossible.
        against, stamped = None, f"{stamped}: never traded, no benchmark"
    figures = set(plt.get_fignums())
    with tempfile.TemporaryDirectory() as folder, _silenced():
        page = Path(folder) / "tearsheet.html"
        quantstats.reports.html(  # type: ignore[no-untyped-call]  # quantstats has no types
            run,
            benchmark=against,
            title=html.escape(stamped),
            output=str(page),
            periods_per_year=periods_per_year(index),
            compounded=True,
            match_dates=False,
            strategy_title="Strategy",
            benchmark_title=None if against is None else str(against.name),
        )
        text = _OUTSIDE_ICON.sub("", page.read_text(encoding="utf-8"))
    for number in set(plt.get_fignums()) - figures:
        plt.close(number)
    sheet = Tearsheet(text)
    if path is not None:
        sheet.save(path)
    return sheet


@contextmanager
def _silenced() -> Iterator[None]:
    fonts = logging.getLogger("matplotlib.font_manager")  # quantstats asks for Arial at every text
    level = fonts.level
    with warnings.catch_warnings():
        for category in _CATEGORIES:
            warnings.filterwarnings("ignore", category=category, module=_KNOWN_WARNINGS)
        fonts.setLevel(logging.ERROR)
        try:
            yield
        finally:
            fonts.setLevel(level)


def _checked(returns: pd.Series, name: str) -> pd.Series:
    if not isinstance(returns, pd.Series) or not isinstance(returns.index, pd.DatetimeIndex):
        raise ValueError(f"{name} must be a Series with a DatetimeIndex, not {type(returns)}")
    values = returns.astype(np.float64).copy()
    values.index = returns.index.tz_localize(None)
    values.iloc[0] = np.nan_to_num(values.iloc[0])
    wrong = ~np.isfinite(values.to_numpy())
    if wrong.any():
        raise ValueError(
            f"{name} is {values[wrong].iloc[0]} on {values.index[wrong][0]:%Y-%m-%d}; "
            "every bar but the first needs a finite return"
        )
    return values


def _covering(benchmark: pd.Series, index: pd.DatetimeIndex) -> pd.Series:
    values = _checked(benchmark, "benchmark")
    missing = index.difference(pd.DatetimeIndex(values.index))
    if len(missing):
        raise ValueError(
            f"the benchmark has no return on {missing[0]:%Y-%m-%d} and {len(missing) - 1} other "
            "bars of the run; reindex it, with 0 where it did not trade"
        )
    covering: pd.Series = values.reindex(index)
    covering.name = benchmark.name or "Benchmark"
    return covering
