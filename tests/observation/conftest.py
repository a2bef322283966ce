import pytest

from mmdrex.data.sample import sample_bars
from mmdrex.data.simulated import simulated_bars


@pytest.fixture(scope="session")
def markets():
    """Two real indices and three simulated markets, by name."""
    real = {name: sample_bars(name).iloc[:2500] for name in ("sp500", "nasdaq")}
    return real | {f"SIM{seed}": simulated_bars(seed)[0] for seed in (1, 2, 3)}
