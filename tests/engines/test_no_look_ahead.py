"""A plan never knows the future: cut it off or replace it by noise, the past stays the same.

The router is a stand-in that decides by the digest of all it observes, so that one changed number
in series, prompt or chart changes weights and rules.
"""

import numpy as np
import pandas as pd
import pytest

from mmdrex.data.simulated import simulated_bars
from mmdrex.engines.planning import plan

WINDOW, CUTS = 30, 50


@pytest.fixture(scope="module")
def assets(sp500, nasdaq):
    return {
        "sp500": sp500[:700],
        "nasdaq": nasdaq[-700:],
        **{f"simulated {seed}": simulated_bars(seed, bars=700)[0] for seed in range(3)},
    }


def with_noise(bars, cut, rng):
    """Return the bars with every row from ``cut`` on replaced by another random walk."""
    rows = len(bars) - cut
    close = bars["close"].iloc[cut - 1] * np.exp(np.cumsum(rng.normal(0.0, 0.05, rows)))
    opened = close * np.exp(rng.normal(0.0, 0.02, rows))
    noise = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * 1.02,
            "low": np.minimum(opened, close) * 0.98,
            "close": close,
            "volume": rng.uniform(1.0, 1e9, rows),
        },
        index=bars.index[cut:],
    )
    return pd.concat([bars[:cut], noise])


def cuts():
    # Beside random cuts, those around a decision bar: row 198 + 30 * 8 = 438.
    random = np.random.default_rng(0).integers(229, 700, CUTS - 4)
    return [437, 438, 439, 440, *random.tolist()]


def assert_same_past(found, whole, cut):
    np.testing.assert_array_equal(found.target[:cut], whole.target[:cut])
    np.testing.assert_array_equal(found.weights[:cut], whole.weights[:cut])
    past = [d.to_json() for d in whole.decisions if d.time <= whole.bars.index[cut - 1]]
    assert [d.to_json() for d in found.decisions[: len(past)]] == past


@pytest.mark.parametrize("symbol", ["sp500", "nasdaq", "simulated 0", "simulated 1", "simulated 2"])
def test_decisions_and_targets_before_a_cut_do_not_depend_on_what_follows(
    assets, symbol, make_router
):
    bars, rng = assets[symbol], np.random.default_rng(1)
    whole = plan(bars, make_router(), window=WINDOW)
    prefixes = {cut: bars[:cut] for cut in cuts()}
    noisy = {cut: with_noise(bars, cut, rng) for cut in cuts()}
    for futures in (prefixes, noisy):
        for cut, frame in futures.items():
            frame.attrs["symbol"] = bars.attrs.get("symbol", "asset")
            assert_same_past(plan(frame, make_router(), window=WINDOW), whole, cut)


def test_leak_of_one_bar_in_a_single_column_would_be_seen(assets, make_router):
    def leak(bars):
        return bars.assign(volume=bars["volume"].shift(-1, fill_value=1.0))

    bars = assets["sp500"]
    whole = plan(leak(bars), make_router(), window=WINDOW)
    with pytest.raises(AssertionError):
        assert_same_past(plan(leak(bars[:439]), make_router(), window=WINDOW), whole, 439)
