import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmdrex.audit.figures import figure_html, save_figure, weights_figure

INDEX = pd.bdate_range("2015-01-01", periods=400)
EQUITY = pd.Series(np.linspace(100.0, 180.0, 400), INDEX, name="MM-DREX")
WEIGHTS = pd.DataFrame(
    np.repeat([[0.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]], 200, axis=0),
    index=INDEX,
    columns=["trend", "reversal", "breakout", "position"],
)


def test_figure_has_the_curve_on_top_and_the_weights_below_as_an_area():
    figure = weights_figure(EQUITY, WEIGHTS, title="MM-DREX on x", stamp="train, IN-SAMPLE")
    top, below = figure.axes
    assert top.get_title(loc="left") == "MM-DREX on x"
    assert top.get_title(loc="right") == "train, IN-SAMPLE"
    np.testing.assert_array_equal(top.lines[0].get_ydata(), EQUITY)
    assert [text.get_text() for text in below.get_legend().get_texts()] == list(WEIGHTS.columns)
    heights = [area.get_paths()[0].vertices[:, 1].max() for area in below.collections]
    np.testing.assert_allclose(heights, [0.1, 0.3, 0.6, 1.0])


def test_figure_with_targets_has_a_third_panel():
    target = pd.Series(np.sin(np.arange(400) / 20), INDEX)
    assert len(weights_figure(EQUITY, WEIGHTS, target).axes) == 3


@pytest.mark.parametrize("lowest", [1.0, -40.0])
def test_figure_draws_growth_and_bankruptcy(tmp_path, lowest):
    curves = pd.DataFrame({"a": np.linspace(100.0, lowest, 400), "b": EQUITY}, index=INDEX)
    save_figure(tmp_path / "equity.png", weights_figure(curves, WEIGHTS))
    with Image.open(tmp_path / "equity.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] == 1650
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20  # not blank


def test_figure_becomes_an_image_of_a_page():
    page = figure_html(weights_figure(EQUITY, WEIGHTS))
    assert page.startswith('<img src="data:image/png;base64,')
