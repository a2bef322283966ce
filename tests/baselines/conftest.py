"""Bars for the baselines, and each baseline fitted in a moment."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from baselines import BASELINES
from mmdrex.data.sample import sample_bars
from mmdrex.data.simulated import simulated_bars

torch.set_num_threads(1)  # small networks; two threads wait for each other on a busy machine

COLUMNS = ["open", "high", "low", "close", "volume"]
REPLIES = f"replay:{Path(__file__).with_name('replies.jsonl')}"
QUICK = {
    "buy_and_hold": {},
    "macd": {},
    "kdj_rsi": {},
    "cr": {},
    "bbi": {},
    "wr": {},
    "bias": {},
    "lgbm": {"rounds": 5, "leaves": 4},
    "lstm": {"epochs": 1, "hidden": 8},
    "transformer": {"epochs": 1, "width": 8},
    "sac": {"steps": 96, "checkpoints": 1, "hidden": 8, "warmup": 40},
    "ppo": {"steps": 128, "checkpoints": 1, "hidden": 8, "n_steps": 128},
    "dqn": {"steps": 96, "checkpoints": 1, "hidden": 8, "warmup": 40},
    "finagent": {"llm": REPLIES, "every": 60},
    "finmem": {"llm": REPLIES, "every": 60, "warmup": 5},
    "llmoe": {"llm": REPLIES, "every": 10, "samples": 80},
}


@pytest.fixture(scope="session")
def quick():
    """Return settings for every baseline that fit it in a moment."""
    return QUICK


@pytest.fixture(scope="session")
def make_bars():
    """Return a function that makes bars of the columns given; the others follow the close."""

    def make(close, **columns):
        close = np.asarray(close, dtype=float)
        index = pd.bdate_range("2020-01-01", periods=len(close))
        given = {"open": close, "high": close, "low": close, "volume": 1000.0, **columns}
        return pd.DataFrame({**given, "close": close}, index).astype(float)[COLUMNS]

    return make


@pytest.fixture(scope="session", params=["sp500", "nasdaq", "simulated"])
def bars(request):
    """Real bars around 2008, and a simulated market."""
    if request.param == "simulated":
        return simulated_bars(7, bars=700)[0]
    return sample_bars(request.param).iloc[2000:2700]


@pytest.fixture(scope="session")
def market():
    """Return train and select of a simulated market; select starts with a warm-up."""
    whole = simulated_bars(3, bars=900)[0]
    return {"SIM": whole.iloc[:600]}, {"SIM": whole}


@pytest.fixture(scope="session", params=list(QUICK))
def fitted(request, market):
    """Every baseline, fitted with settings that take a moment; what it knows is no matter here."""
    return BASELINES[request.param].with_settings(**QUICK[request.param]).fit(*market)
