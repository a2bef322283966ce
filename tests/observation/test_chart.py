import numpy as np
import pytest

from mmdrex.observation.chart import DOWN, PANELS, UP, draw, local_bars, scales
from mmdrex.observation.features import indicator_table, rows


@pytest.fixture(scope="module")
def tables(markets):
    return {name: indicator_table(bars) for name, bars in markets.items()}


def window(table, t=1000):
    return rows(table, t - 99, t + 1)


def test_pixels_obey_the_prefix_law_at_50_cuts(markets, tables):
    for name, bars in markets.items():
        for cut in np.random.default_rng(0).integers(199, 1999, 50).tolist():
            before = indicator_table(bars.iloc[: cut + 1])
            for view, size in (("global", (280, 224)), ("local", (168, 224))):
                whole = draw(window(tables[name], cut), view, size)
                assert np.array_equal(draw(window(before, cut), view, size), whole), (name, cut)


def test_replacing_the_future_by_noise_changes_no_pixel(markets):
    bars = markets["sp500"]
    noisy = bars.copy()
    rng = np.random.default_rng(0)
    noisy.iloc[1001:] = noisy.iloc[1001:].to_numpy() * rng.uniform(0.5, 2.0, (len(bars) - 1001, 1))
    assert np.array_equal(draw(window(indicator_table(bars))), draw(window(indicator_table(noisy))))


def test_a_chart_of_prices_times_two_is_the_same_chart(markets):
    bars = markets["nasdaq"]
    twice = bars * [2.0, 2.0, 2.0, 2.0, 1.0]
    for view in ("global", "local"):
        assert np.array_equal(
            draw(window(indicator_table(bars)), view), draw(window(indicator_table(twice)), view)
        )


def test_every_change_of_a_drawn_column_changes_the_chart(tables):
    whole = window(tables["SIM1"])
    picture = draw(whole, "global", (280, 224))
    for name in ("close", "volume", "ma10", "ma20", "ma100", "dif", "hist", "rsi", "k", "j"):
        other = whole.copy()
        low, high = scales(whole)[name]
        other[name][60] = low if other[name][60] > (low + high) / 2 else high
        assert not np.array_equal(draw(other, "global", (280, 224)), picture), name


def test_the_last_candle_has_the_colour_of_its_bar(tables):
    for t in range(300, 340):
        part = window(tables["sp500"], t)
        image = draw(part, "local", (900, 672))
        price = image[: int(672 * PANELS["price"]), 900 - 900 // local_bars(100) :].astype(int)
        up = int((np.abs(price - UP).sum(axis=2) == 0).sum())
        down = int((np.abs(price - DOWN).sum(axis=2) == 0).sum())
        assert (up > down) == bool(part.close[-1] >= part.open[-1]), t


def test_a_close_is_drawn_at_its_share_of_the_panel(tables):
    """Expected rows by hand: the panel less 4 % margins at top and bottom, scaled linearly."""
    part = window(tables["SIM2"])
    height, width = 800, 3000
    image = draw(part, "global", (width, height)).astype(int)
    low, high = scales(part)["close"]
    for i in range(100):
        opened, closed = part.open[i], part.close[i]
        share = (np.array([opened, closed]) - low) / (high - low)
        top, bottom = np.sort(400 * (0.96 - 0.92 * share))
        if bottom - top < 4:
            continue  # a body this flat is mostly its outline
        colour = UP if closed >= opened else DOWN
        column = np.abs(image[:400, int((i + 0.5) * width / 100)] - colour).sum(axis=1) == 0
        body = image[:400, int((i + 0.3) * width / 100)]
        rows_of_body = np.flatnonzero(np.abs(body - colour).sum(axis=1) == 0)
        assert abs(rows_of_body.min() - top) <= 1.5 and abs(rows_of_body.max() - bottom) <= 1.5
        assert column.any()


def test_a_flat_silent_market_can_be_drawn(tables):
    part = window(tables["SIM3"]).copy()
    for name in ("open", "high", "low", "close", "ma10", "ma20", "ma100", "upper", "lower"):
        part[name] = 5.0
    for name in ("volume", "dif", "dea", "hist"):
        part[name] = 0.0
    assert draw(part).shape == (672, 840, 3)
