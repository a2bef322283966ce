import json

import pandas as pd
import pytest

from mmdrex.data.costs import COSTS
from mmdrex.data.sample import sample_bars
from mmdrex.data.simulated import simulated_bars
from mmdrex.data.sources import SOURCES
from mmdrex.data.yahoo import yahoo_bars
from mmdrex.errors import BarsError

# In the form of a reply of query2.finance.yahoo.com/v8/finance/chart: three trading days from
# 2020-01-02 on, a day without prices, and a dividend of 1 on the last day.
META = {
    "currency": "USD",
    "symbol": "ANY",
    "exchangeName": "NMS",
    "instrumentType": "EQUITY",
    "timezone": "EST",
    "exchangeTimezoneName": "America/New_York",
    "dataGranularity": "1d",
    "priceHint": 2,
    "range": "",
    "validRanges": ["1d", "5d", "1mo", "max"],
}
QUOTE = {
    "open": [100.0, 102.0, None, 99.0],
    "high": [104.0, 103.0, None, 101.0],
    "low": [99.0, 100.0, None, 98.0],
    "close": [102.0, 100.0, None, 100.0],
    "volume": [1000, 2000, None, 3000],
}
REPLY = {
    "chart": {
        "error": None,
        "result": [
            {
                "meta": META,
                "timestamp": [1577975400, 1578061800, 1578321000, 1578407400],
                "events": {"dividends": {"1578407400": {"amount": 1.0, "date": 1578407400}}},
                "indicators": {
                    "quote": [QUOTE],
                    "adjclose": [{"adjclose": [100.98, 99.0, None, 100.0]}],
                },
            }
        ],
    }
}
NOTHING = {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data"}}}


class Reply:
    def __init__(self, content):
        self.text = json.dumps(content)

    def json(self):
        return json.loads(self.text)


def answer_with(monkeypatch, content):
    import yfinance

    monkeypatch.setattr(
        yfinance.base.TickerBase, "_get_ticker_tz", lambda self, timeout: "America/New_York"
    )
    for name in ("get", "cache_get"):
        monkeypatch.setattr(
            yfinance.data.YfData, name, lambda self, *args, **keywords: Reply(content)
        )


def test_yahoo_reply_becomes_adjusted_bars_on_naive_dates(monkeypatch):
    answer_with(monkeypatch, REPLY)
    bars = yahoo_bars("ANY", start="2020-01-01", end="2020-01-10")
    assert bars.index.tolist() == [
        pd.Timestamp(day) for day in ("2020-01-02", "2020-01-03", "2020-01-07")
    ]
    # The first day's factor is 100.98 / 102 = 0.99, the dividend's 1 %.
    assert bars.iloc[0].tolist() == pytest.approx([99.0, 102.96, 98.01, 100.98, 1000.0])
    assert bars.iloc[2].tolist() == pytest.approx([99.0, 101.0, 98.0, 100.0, 3000.0])
    assert bars.attrs["symbol"] == "ANY"


def test_ticker_that_yahoo_does_not_know_is_refused(monkeypatch):
    answer_with(monkeypatch, NOTHING)
    with pytest.raises(BarsError, match="Yahoo has no prices for 'NONE'"):
        yahoo_bars("NONE")


@pytest.mark.parametrize("name", ["sp500", "nasdaq"])
def test_sample_is_the_index_of_twenty_years(name):
    bars = SOURCES["sample"](name)
    assert len(bars) == 5031 and bars.attrs["symbol"] == name
    assert bars.index[0] == pd.Timestamp("1999-01-04")
    assert bars.index[-1] == pd.Timestamp("2018-12-31")


def test_sample_closes_at_the_figure_known_from_the_press():
    # The S&P 500 ended 2018 at 2506.85, the Nasdaq Composite at 6635.28.
    assert sample_bars("sp500").close.iloc[-1] == pytest.approx(2506.85, abs=0.005)
    assert sample_bars("nasdaq").close.iloc[-1] == pytest.approx(6635.28, abs=0.005)


def test_misspelt_sample_is_refused_with_the_right_name():
    with pytest.raises(ValueError, match="Did you mean 'sp500'"):
        sample_bars("sp50")


def test_every_source_takes_one_text(tmp_path):
    expected = simulated_bars(3)[0]
    pd.testing.assert_frame_equal(SOURCES["simulated"]("3"), expected)
    expected.to_csv(tmp_path / "SIM3.csv", float_format="%.17g")
    expected.to_parquet(tmp_path / "SIM3.parquet")
    for source in ("csv", "parquet"):
        bars = SOURCES[source](str(tmp_path / f"SIM3.{source}"))
        pd.testing.assert_frame_equal(bars, expected)
    assert set(SOURCES) == {"csv", "parquet", "sample", "yahoo", "simulated"}


def test_paper_mode_costs_nothing_and_every_market_does():
    assert COSTS["paper"] == (0.0, 0.0)
    assert all(costs.fees + costs.slippage > 0 for name, costs in COSTS.items() if name != "paper")
