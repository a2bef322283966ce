"""A server with OpenAI's protocol, good or bad: a reply, a retry or a recorded failure."""

import numpy as np
import pytest

from mmdrex.errors import LLMError, NoReplyError
from mmdrex.llm import LLM, Budget, Ledger
from mmdrex.llm.openai_server import OpenAIServer

GOOD = '{"reason": "it rises", "action": "BUY"}'


@pytest.fixture
def llm_of(server, monkeypatch):
    """Return a function that makes a model behind the server; the waits are kept, not slept."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    def make(*scripts, attempts=3, budget=None, **settings):
        server.scripts = list(scripts)
        settings = {"base_url": server.url, "timeout": 20, **settings}
        backend = OpenAIServer("small", **settings)
        waits = []
        llm = LLM(backend, Ledger(), budget, attempts=attempts, sleep=waits.append)
        llm.waits = waits
        return llm

    return make


def outcomes(llm):
    return list(llm.ledger.calls()["outcome"])


def test_reply_is_parsed_and_recorded_with_its_tokens_and_price(llm_of, server, request_of):
    llm = llm_of(server.says(GOOD), price=(1.0, 4.0))
    assert llm.ask(request_of()).action == "BUY"
    call = llm.ledger.calls().iloc[0]
    assert (call.model, call.prompt_tokens, call.reply_tokens) == ("openai:small", 100, 20)
    assert call.price == pytest.approx((100 * 1.0 + 20 * 4.0) / 1e6)
    assert call.reply == GOOD and "What now?" in call.prompt and call.seconds > 0


def test_image_travels_as_a_png_data_uri(llm_of, server, request_of):
    llm_of(server.says(GOOD)).ask(request_of(images=(np.zeros((4, 6, 3), np.uint8),)))
    image, text = server.bodies[0]["messages"][1]["content"]
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert text == {"type": "text", "text": "What now?"}


def test_model_without_eyes_is_told_that_charts_are_left_out(llm_of, server, request_of):
    llm_of(server.says(GOOD), images=False).ask(request_of(images=(np.zeros((4, 6, 3), np.uint8),)))
    assert server.bodies[0]["messages"][1]["content"].startswith("(Charts left out.)")


@pytest.mark.parametrize("trouble", ["hangs", "drips", "closes_in_the_middle", "429", "500", "503"])
def test_trouble_is_tried_again_with_back_off(llm_of, server, request_of, trouble):
    bad = (
        server.sends(b'{"error": "busy"}', int(trouble))
        if trouble.isdigit()
        else getattr(server, trouble)()
    )
    slow = {"timeout": 1.5} if trouble in ("hangs", "drips") else {}
    llm = llm_of(bad, server.says(GOOD), **slow)
    assert llm.ask(request_of()).action == "BUY"
    assert outcomes(llm) == ["failed", "reply"]
    assert llm.waits == [1.0]


def test_waits_double(llm_of, server, request_of):
    llm = llm_of(server.sends(b"{}", 500), attempts=4)
    with pytest.raises(NoReplyError, match="500"):
        llm.ask(request_of())
    assert llm.waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("trouble", ["hangs", "closes_in_the_middle"])
def test_lasting_trouble_ends_in_a_recorded_failure(llm_of, server, request_of, trouble):
    llm = llm_of(getattr(server, trouble)(), attempts=2, timeout=1.0)
    with pytest.raises(NoReplyError):
        llm.ask(request_of())
    assert outcomes(llm) == ["failed", "gave up"]
    asked = len(server.bodies)
    with pytest.raises(NoReplyError):  # the second time from the ledger
        llm.ask(request_of())
    assert len(server.bodies) == asked


def test_server_s_own_wish_for_a_wait_counts_up_to_a_minute(llm_of, server, request_of):
    busy = [server.sends(b"{}", 429, [("retry-after", wait)]) for wait in ("7", "86400")]
    llm = llm_of(*busy, server.says(GOOD))
    llm.ask(request_of())
    assert llm.waits == [7.0, 60.0]


def test_reply_of_ten_megabytes_is_not_read_to_its_end(llm_of, server, request_of):
    llm = llm_of(server.says("x" * 10_000_000))
    with pytest.raises(NoReplyError, match="more than 1000000 bytes"):
        llm.ask(request_of())
    assert outcomes(llm) == ["gave up"]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}'],
)
def test_body_that_is_no_completion_is_tried_again(llm_of, server, request_of, body):
    llm = llm_of(server.sends(body), server.says(GOOD))
    assert llm.ask(request_of()).action == "BUY"
    assert outcomes(llm) == ["failed", "reply"]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_wrong_key_or_model_stops_the_run_with_what_to_check(llm_of, server, request_of, status):
    with pytest.raises(LLMError, match="check key, address and model"):
        llm_of(server.sends(b"{}", status)).ask(request_of())


def test_request_that_a_server_refuses_is_not_repeated(llm_of, server, request_of):
    llm = llm_of(server.sends(b'{"error": "too long"}', 400))
    with pytest.raises(NoReplyError, match="400"):
        llm.ask(request_of())
    assert outcomes(llm) == ["gave up"] and llm.waits == []


def test_every_attempt_counts_towards_the_budget(llm_of, server, request_of):
    llm = llm_of(server.sends(b"{}", 500), server.says(GOOD), budget=Budget(calls=5))
    llm.ask(request_of())
    assert llm.budget.used == {"calls": 2, "tokens": 120, "money": 0.0}


def test_model_without_key_and_address_says_where_to_put_them(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(LLMError, match="OPENAI_API_KEY"):
        LLM.open("openai:gpt-5")
