"""Bars and hand-made feature rows for the tests of the rules."""

from __future__ import annotations

import arch.data.nasdaq
import arch.data.sp500
import numpy as np
import pandas as pd
import pytest

from strategies import POOL
from strategies.rule import pack

COLUMNS = ["open", "high", "low", "close", "volume"]


def real_bars(module) -> pd.DataFrame:
    return module.load().rename(columns=str.lower)[COLUMNS].astype(float)


def random_bars(seed: int, rows: int = 600) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(random.normal(0.0, 0.02, rows)))
    open_ = np.r_[50.0, close[:-1]] * np.exp(random.normal(0.0, 0.004, rows))
    high = np.maximum(open_, close) * np.exp(np.abs(random.normal(0.0, 0.006, rows)))
    low = np.minimum(open_, close) * np.exp(-np.abs(random.normal(0.0, 0.006, rows)))
    volume = np.round(1e5 * np.exp(random.normal(0.0, 0.6, rows)))
    index = pd.bdate_range("2010-01-04", periods=rows)
    return pd.DataFrame(dict(zip(COLUMNS, (open_, high, low, close, volume), strict=True)), index)


@pytest.fixture(scope="session")
def sp500() -> pd.DataFrame:
    return real_bars(arch.data.sp500)


@pytest.fixture(scope="session", params=["sp500", "nasdaq", "walk 1", "walk 2", "walk 3"])
def bars(request) -> pd.DataFrame:
    """Real bars around 2008, quiet and wild, and three random walks."""
    if request.param.startswith("walk"):
        return random_bars(int(request.param[-1]))
    return real_bars(getattr(arch.data, request.param)).iloc[1900:2800]


@pytest.fixture(params=list(POOL))
def rule(request):
    return POOL[request.param]


@pytest.fixture
def price_bars():
    """Return a function that makes bars from closes: high and low lie ``spread`` around them."""

    def make(close, spread=0.5, volume=None) -> pd.DataFrame:
        close = np.asarray(close, dtype=float)
        volume = np.full(len(close), 1000.0) if volume is None else np.asarray(volume, dtype=float)
        index = pd.bdate_range("2020-01-01", periods=len(close))
        arrays = (close, close + spread, close - spread, close, volume)
        return pd.DataFrame(dict(zip(COLUMNS, arrays, strict=True)), index)

    return make


@pytest.fixture
def trade():
    """Return a function that scans hand-made rows, each ``neutral`` with some fields replaced."""

    def run(name, neutral, rows, **params):
        rule = POOL[name].with_params(**params)
        empty = pd.DataFrame({name: np.empty(0) for name in COLUMNS})
        fields = rule.features(empty, rule.params).dtype.names
        assert set(fields) == set(neutral)
        assert all(set(row) <= set(fields) for row in rows)
        columns = {f: np.array([(neutral | row)[f] for row in rows], float) for f in fields}
        return rule.scan(pack(**columns), rule.params)

    return run
