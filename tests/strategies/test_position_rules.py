"""Algorithms 9 to 11: one position from the first bar to the last."""

import pytest

from strategies import targets


@pytest.mark.parametrize(("name", "held"), [("long_only", 1), ("short_only", -1), ("cash", 0)])
def test_position_is_held_from_the_first_bar_to_the_last(price_bars, name, held):
    # a fall by half and a rise by three change nothing
    assert targets(name, price_bars([100, 50, 150, 150])).to_list() == [held] * 4
