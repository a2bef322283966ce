"""Bars and a router for the engines' tests."""

import numpy as np
import pandas as pd
import pytest

from mmdrex.data.sample import sample_bars
from mmdrex.data.simulated import simulated_bars
from mmdrex.router.decision import Decision
from strategies import EXPERTS


class FakeRouter:
    """Decides by the digest of what it observes, as deterministic as a real router."""

    def __init__(self, experts=EXPERTS, trained=None):
        self.rules = {expert: tuple(names) for expert, names in experts.items()}
        self.trained = trained or {}
        self.batches = []

    def decide(self, observations, progress=False):
        self.batches.append(len(observations))
        return [self._decision(observation) for observation in observations]

    def _decision(self, observation):
        rng = np.random.default_rng(int(observation.digest[:12], 16))
        rules = {expert: names[rng.integers(len(names))] for expert, names in self.rules.items()}
        return Decision(
            symbol=observation.symbol,
            time=observation.time,
            weights=rng.dirichlet(np.ones(len(rules))),
            rules=rules,
            probabilities={
                expert: {name: 1.0 / len(names) for name in names}
                for expert, names in self.rules.items()
            },
            values=dict.fromkeys(self.rules, 0.0),
            observation=observation.digest,
            model="fake",
        )


@pytest.fixture(scope="session")
def make_router():
    return FakeRouter


@pytest.fixture
def router():
    return FakeRouter()


@pytest.fixture(scope="session")
def sp500():
    return sample_bars("sp500")


@pytest.fixture(scope="session")
def nasdaq():
    return sample_bars("nasdaq")


@pytest.fixture(scope="session")
def simulated():
    bars, _ = simulated_bars(1)
    return bars


@pytest.fixture(scope="session")
def crashing():
    """Prices that triple overnight, then fall: a short is bankrupt before it can be closed."""
    close = np.r_[np.linspace(100.0, 90.0, 250), np.linspace(600.0, 30.0, 250)]
    opened = np.r_[100.0, close[:-1]]
    opened[250] = 580.0
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * 1.01,
            "low": np.minimum(opened, close) * 0.99,
            "close": close,
            "volume": 1e6,
        },
        index=pd.bdate_range("2015-01-01", periods=500),
    )
