import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from mmdrex.llm import LLM
from mmdrex.observation.observation import Observer
from mmdrex.training.annotator import annotate, question
from mmdrex.training.labels import labelled_windows
from mmdrex.training.review import import_review
from mmdrex.training.sft_data import reasons

GOOD = {
    "current_market_state": {
        "ma5_vs_ma20": "above",
        "adx_strength": "strong",
        "di_direction": "+DI leads",
        "trend": "uptrend",
    },
    "technical_indicators": dict.fromkeys(
        ("moving_averages", "adx", "macd", "rsi", "kdj", "bollinger", "volume"), "rising"
    ),
    "price_prediction": {"target": 110.0, "high": 120.0, "low": 90.0, "price_confidence": 0.6},
    "prediction": {
        "trend_conclusion": "Uptrend",
        "confidence_level": 0.7,
        "expected_trend_days": {"up_days": 50, "down_days": 20, "consolidation_days": 20},
        "trend_reasoning": "MA5 leads",
    },
    "risk": {"trend_reversal": "low", "volatility": "medium", "factors": ["rates"]},
}


class Server(ThreadingHTTPServer):
    replies: list[str]
    asked: list[dict]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        said = self.server.replies.pop(0) if self.server.replies else json.dumps(GOOD)
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
    bad = json.loads(json.dumps(GOOD))
    bad["prediction"]["trend_conclusion"] = "sideways"
    bad["prediction"]["confidence_level"] = 7
    server.replies = [json.dumps(bad)]
    reviewed = annotate(markets, windows[:1], model(server, tmp_path / "calls.sqlite"))
    assert reviewed["review"].tolist() == ["up"] and len(server.asked) == 2
    again = server.asked[1]["messages"][-1]["content"]
    assert "trend_conclusion" in str(again) and "confidence_level" in str(again)


def test_a_window_without_a_usable_reply_stays_empty(
    server: Server, markets: dict[str, pd.DataFrame], windows: pd.DataFrame, tmp_path: Path
) -> None:
    server.replies = ["I can't say."] * 3
    reviewed = annotate(markets, windows, model(server, tmp_path / "calls.sqlite"))
    assert reviewed["review"].tolist() == ["", "up"]


def test_the_question_knows_nothing_later_and_names_no_asset(
    markets: dict[str, pd.DataFrame],
) -> None:
    bars, row = markets["SIM1"], 500
    asked = [
        question(Observer(part, "SIM1", anonymous=True), row, reasons(part)[row], 90)
        for part in (bars, bars.iloc[: row + 1])
    ]
    assert asked[0].digest == asked[1].digest and "SIM1" not in asked[0].text
