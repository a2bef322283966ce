import re
import socket
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mmdrex.evaluation.tearsheet import tearsheet

INDEX = pd.bdate_range("2015-01-01", periods=600)
RETURNS = pd.Series(np.random.default_rng(0).normal(0.0005, 0.01, 600), INDEX)
BENCHMARK = pd.Series(np.random.default_rng(1).normal(0.0005, 0.01, 600), INDEX, name="index")
BENCHMARK.iloc[0] = np.nan  # as pct_change gives it


@pytest.fixture(autouse=True, scope="module")
def offline():
    def refuse(*args, **kwargs):
        raise AssertionError("a tearsheet must not use the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(scope="module")
def stamped(tmp_path_factory):
    """One sheet for many questions; warnings are errors while it is made."""
    path = tmp_path_factory.mktemp("sheet") / "tearsheet.html"
    before = plt.get_fignums()
    flat = RETURNS.where(RETURNS.index > INDEX[200], 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sheet = tearsheet(flat, BENCHMARK, path, title="a < b", in_sample=True)
    assert plt.get_fignums() == before
    return sheet, path, flat


def test_page_is_written_whole_and_loads_nothing_from_outside(stamped):
    sheet, path, _ = stamped
    page = path.read_text(encoding="utf-8")
    assert page == sheet.html
    assert [file.name for file in path.parent.iterdir()] == ["tearsheet.html"]
    assert "INDEX" in page  # the benchmark's name
    assert not re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=.https?:", page)
    assert "{{" not in page


def test_sharpe_of_the_page_is_that_of_all_bars_a_flat_start_included(stamped):
    sheet, _, flat = stamped
    expected = flat.mean() / flat.std(ddof=1) * np.sqrt(252)
    cells = re.search(
        r"<td>Sharpe</td><td>([^<]*)</td><td>([^<]*)</td>", sheet.html.replace("\n", "")
    )
    assert float(cells[2]) == pytest.approx(expected, abs=0.005)


def test_title_is_escaped_and_stamped_in_sample(stamped):
    assert "a &lt; b (IN-SAMPLE)" in stamped[0].html


def test_sheet_shows_itself_in_a_notebook(stamped):
    assert stamped[0]._repr_html_().startswith("<iframe srcdoc=")


def test_year_of_a_market_that_trades_every_day_has_365_days():
    days = pd.date_range("2015-01-01", periods=200)
    page = tearsheet(RETURNS[:200].set_axis(days)).html
    assert "Periods/Year: 365" in page
    assert "IN-SAMPLE" not in page


def test_missing_return_and_uncovered_bar_are_refused():
    with pytest.raises(ValueError, match="returns is nan on 2015-01-05"):
        tearsheet(RETURNS.where(RETURNS.index != INDEX[2]))
    with pytest.raises(ValueError, match="no return on 2015-01-05 and 0 other"):
        tearsheet(RETURNS, BENCHMARK.drop(INDEX[2]))


def test_run_that_never_traded_has_a_page():
    assert "never traded" in tearsheet(RETURNS[:200] * 0.0, BENCHMARK).html


def test_bankrupt_run_has_a_page():
    gone = RETURNS[:200].copy()
    gone.iloc[100] = -1.0
    gone.iloc[101:] = 0.0
    assert "-100.0%" in tearsheet(gone, BENCHMARK).html
