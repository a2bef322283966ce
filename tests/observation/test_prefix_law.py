import numpy as np
import pandas as pd
import pytest

from mmdrex.observation.features import indicator_table
from mmdrex.observation.observation import Observer

MARKETS = ("sp500", "nasdaq", "SIM1", "SIM2", "SIM3")
CUTS = 50


def cuts(bars):
    return np.random.default_rng(0).integers(199, len(bars), CUTS).tolist()


def with_noise_from(bars, cut):
    """Return the bars with everything from row ``cut`` on replaced by noise."""
    rng = np.random.default_rng(cut)
    noisy = bars.copy()
    close = np.exp(rng.normal(3.0, 1.0, len(bars) - cut))
    noisy.iloc[cut:] = np.column_stack(
        (close, close * 1.5, close * 0.5, close, rng.integers(0, 10**9, len(close)))
    )
    return noisy


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("future", ["absent", "noise"])
def test_table_series_and_prompt_do_not_see_the_future(markets, market, future):
    bars = markets[market]
    whole = Observer(bars, market)
    for cut in cuts(bars):
        known = bars.iloc[:cut] if future == "absent" else with_noise_from(bars, cut)
        part = Observer(known, market)
        assert part.table[:cut].tobytes() == whole.table[:cut].tobytes()
        then, now = part.at(cut - 1), whole.at(cut - 1)
        assert then.series.tobytes() == now.series.tobytes()
        assert then.text == now.text
        assert then.digest == now.digest


def test_law_catches_a_planted_leak_of_one_bar(markets):
    bars = markets["sp500"]
    leaking = bars.assign(close=bars.close.shift(-1).ffill())
    whole = indicator_table(leaking)
    for cut in cuts(bars)[:5]:
        seen = bars.iloc[:cut]
        part = indicator_table(seen.assign(close=seen.close.shift(-1).ffill()))
        assert part.tobytes() != whole[:cut].tobytes()


def test_short_histories_give_tables_too(markets):
    bars = markets["SIM1"]
    whole = indicator_table(bars)
    for length in (1, 2, 5, 15, 34, 100, 101):
        part = indicator_table(pd.DataFrame(bars.iloc[:length]))
        assert part.tobytes() == whole[:length].tobytes()
