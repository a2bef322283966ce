import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from mmdrex.llm import LLM
from mmdrex.observation.observation import Observer
from mmdrex.router.vocabulary import LABELS
from mmdrex.training.annotator import Annotation, annotate, question
from mmdrex.training.labels import labelled_windows
from mmdrex.training.review import import_review
from mmdrex.training.sft_data import reasons

# MM-DREX, Listing 2, lines 26 to 97: its keys, its nesting, its example numbers.
LISTING = {
    "current_market_state": {
        "ma5_vs_ma20": "above",
        "estimated_adx_strength": "strong",
        "estimated_di_direction": "+DI leads",
        "current_trend_assessment": "uptrend",
    },
    "technical_indicators_analysis": {
        "moving_averages": {
            "ma5_trend": "rising",
            "ma20_trend": "rising",
            "ma_crossover_signals": "none",
        },
        "adx_analysis": {
            "adx_strength": "strong",
            "di_relationship": "+DI leads",
            "trend_momentum": "growing",
        },
        "macd_analysis": {
            "macd_signal": "above",
            "histogram_trend": "rising",
            "momentum_assessment": "growing",
        },
        "rsi_analysis": {
            "rsi_level": "62",
            "overbought_oversold": "neither",
            "divergence_signals": "none",
        },
        "kdj_analysis": {
            "kdj_position": "high",
            "crossover_signals": "golden",
            "momentum_indication": "growing",
        },
        "bollinger_bands_analysis": {
            "price_position": "upper half",
            "band_width": "wide",
            "squeeze_expansion": "expanding",
        },
        "volume_analysis": {
            "volume_trend": "rising",
            "volume_price_relationship": "confirms",
            "accumulation_distribution": "accumulation",
        },
    },
    "price_prediction": {
        "target_price_90_days_prediction": 150.25,
        "price_range_90_days": {"high_estimate": 165.00, "low_estimate": 135.50},
        "key_levels": {
            "resistance_levels": [160.00, 170.00, 180.00],
            "support_levels": [140.00, 130.00, 120.00],
        },
        "price_confidence": 0.75,
    },
    "prediction_90_days": {
        "trend_conclusion": "Uptrend",
        "confidence_level": 0.75,
        "expected_trend_days": {"up_days": 45, "down_days": 30, "consolidation_days": 15},
        "trend_reasoning": "MA5 leads",
    },
    "risk_assessment": {
        "trend_reversal_risk": "low",
        "volatility_expectation": "medium",
        "key_risk_factors": ["rates"],
        "confidence_factors": "volume",
    },
    "detailed_analysis": "All indicators agree.",
}


class Server(ThreadingHTTPServer):
    replies: list[str]
    asked: list[dict]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        said = self.server.replies.pop(0) if self.server.replies else json.dumps(LISTING)
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": said},
        }
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": "fake"}
        data = json.dumps({**reply, "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.replies, server.asked = [], []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def model(server: Server, ledger: Path) -> LLM:
    address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return LLM.open("openai:fake", ledger=ledger, base_url=address, api_key="none", wait=0.0)


@pytest.fixture
def windows(markets: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return labelled_windows(markets, "select", stride=100)[:2]


def test_a_reply_becomes_a_review_that_import_takes(
    server: Server, markets: dict[str, pd.DataFrame], windows: pd.DataFrame, tmp_path: Path
) -> None:
    reviewed = annotate(markets, windows, model(server, tmp_path / "calls.sqlite"))
    assert reviewed["review"].tolist() == ["up", "up"]
    assert reviewed["comment"].tolist() == ["MA5 leads"] * 2
    labels, _ = import_review(windows, {"fake": reviewed})
    assert labels["label"].tolist() == ["up", "up"]
    content = server.asked[0]["messages"][0]["content"]
    assert any(part["type"] == "image_url" for part in content)


def test_a_second_run_asks_nothing(
    server: Server, markets: dict[str, pd.DataFrame], windows: pd.DataFrame, tmp_path: Path
) -> None:
    first = annotate(markets, windows, model(server, tmp_path / "calls.sqlite"))
    asked = len(server.asked)
    second = annotate(markets, windows, model(server, tmp_path / "calls.sqlite"))
    assert len(server.asked) == asked == len(windows)
    pd.testing.assert_frame_equal(first, second)


def test_a_reply_that_does_not_fit_is_sent_back_with_what_is_wrong(
    server: Server, markets: dict[str, pd.DataFrame], windows: pd.DataFrame, tmp_path: Path
) -> None:
    bad = json.loads(json.dumps(LISTING))
    bad["prediction_90_days"]["trend_conclusion"] = "sideways"
    bad["prediction_90_days"]["confidence_level"] = 7
    server.replies = [json.dumps(bad)]
    reviewed = annotate(markets, windows[:1], model(server, tmp_path / "calls.sqlite"))
    assert reviewed["review"].tolist() == ["up"] and len(server.asked) == 2
    again = server.asked[1]["messages"][-1]["content"]
    assert "trend_conclusion" in str(again) and "confidence_level" in str(again)


def keys(thing: object) -> object:
    """The keys of nested objects, in their order."""
    return {k: keys(v) for k, v in thing.items()} if isinstance(thing, dict) else None


def test_the_form_has_the_listings_keys_and_no_others() -> None:
    read = Annotation.model_validate(LISTING).model_dump()
    assert json.dumps(keys(read)) == json.dumps(keys(LISTING))
    with pytest.raises(ValueError, match="mood"):
        Annotation.model_validate({**LISTING, "mood": "good"})
    for part in LISTING:
        with pytest.raises(ValueError, match=part):
            Annotation.model_validate({k: v for k, v in LISTING.items() if k != part})


def test_days_that_do_not_add_up_are_sent_back(
    server: Server, markets: dict[str, pd.DataFrame], windows: pd.DataFrame, tmp_path: Path
) -> None:
    bad = json.loads(json.dumps(LISTING))
    bad["prediction_90_days"]["expected_trend_days"]["up_days"] = 46
    server.replies = [json.dumps(bad)]
    reviewed = annotate(markets, windows[:1], model(server, tmp_path / "calls.sqlite"))
    assert reviewed["review"].tolist() == ["up"] and len(server.asked) == 2
    assert "the days must add up to 90, not 91" in str(server.asked[1]["messages"][-1])


def test_labels_of_other_prices_are_refused_before_anything_is_asked(
    server: Server, markets: dict[str, pd.DataFrame], windows: pd.DataFrame, tmp_path: Path
) -> None:
    asks = model(server, tmp_path / "calls.sqlite")
    for other in (
        {"SIM9": markets["SIM1"]},  # another symbol
        {"SIM1": markets["SIM1"].iloc[:100]},  # too few bars
        {"SIM1": markets["SIM1"].iloc[1:]},  # other days
    ):
        with pytest.raises(ValueError, match=r"no window of SIM1 at .* in these prices"):
            annotate(other, windows, asks)
    with pytest.raises(ValueError, match="windows of 90 bars; the labels hold one of 91"):
        annotate(markets, windows.assign(up_days=windows["up_days"] + 1), asks)
    assert not server.asked


def test_a_window_without_a_usable_reply_is_left_out_and_is_no_vote(
    server: Server, markets: dict[str, pd.DataFrame], windows: pd.DataFrame, tmp_path: Path
) -> None:
    server.replies = ["I can't say."] * 3
    reviewed = annotate(markets, windows, model(server, tmp_path / "calls.sqlite"))
    assert reviewed["review"].tolist() == ["up"]
    missing = windows.iloc[[0]]
    other = next(label for label in LABELS if label != missing["label"].iloc[0])
    ann = missing.assign(review=other)
    labels, conflicts = import_review(windows, {"ann": ann, "fake": reviewed})
    assert labels["label"].iloc[0] == other and conflicts["agreed"].iloc[0]


def test_the_question_knows_nothing_later_and_names_no_asset(
    markets: dict[str, pd.DataFrame],
) -> None:
    bars, row = markets["SIM1"], 500
    asked = [
        question(Observer(part, "SIM1", anonymous=True), row, reasons(part)[row])
        for part in (bars, bars.iloc[: row + 1])
    ]
    assert asked[0].digest == asked[1].digest and "SIM1" not in asked[0].text
