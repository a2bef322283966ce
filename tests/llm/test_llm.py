"""What asking a model does beside asking: cache, corrections, limits, records, stamps."""

import json
import threading

import numpy as np
import pandas as pd
import pytest

from mmdrex.errors import BudgetError, LLMError, NoReplyError
from mmdrex.llm import LLM, Budget, Ledger
from mmdrex.llm.backends import NOTHING_KNOWN, BusyError
from mmdrex.llm.replay import Replay
from mmdrex.llm.request import Message, Reply, Request

GOOD = json.dumps({"reason": "it rises", "action": "BUY"})
BAD = json.dumps({"reason": "to the moon", "action": "MOON"})


class Scripted:
    """Says what it is told to, in turn; keeps the requests."""

    model, identity, priced, cutoff = "scripted", "scripted", False, None

    def __init__(self, *replies):
        self.replies, self.asked = list(replies), []

    def reply(self, request):
        self.asked.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return Reply(reply, 10, 5)


def test_second_question_is_answered_from_the_ledger(request_of, tmp_path):
    path = tmp_path / "deep" / "calls.sqlite"
    first, second = Scripted(GOOD), Scripted(RuntimeError("offline"))
    answer = LLM(first, Ledger(path)).ask(request_of())
    again = LLM(second, Ledger(path)).ask(request_of())
    assert answer == again and second.asked == []
    assert len(Ledger(path).calls()) == 1


@pytest.mark.parametrize("other", ["text", "pixels", "model"])
def test_other_text_pixels_or_model_is_another_question(request_of, other):
    image = np.zeros((4, 4, 3), np.uint8)
    backend = Scripted(GOOD)
    llm = LLM(backend)
    llm.ask(request_of(images=(image,)))
    if other == "model":
        backend.identity = "another"
    llm.ask(request_of("?" if other == "text" else "What now?", (image + (other == "pixels"),)))
    assert len(backend.asked) == 2


def test_reply_that_does_not_fit_is_sent_back_with_what_is_wrong(request_of):
    backend = Scripted(BAD, GOOD)
    assert LLM(backend).ask(request_of()).action == "BUY"
    system, question, said, correction = backend.asked[1].messages
    assert (system.text, question.text, said.text) == ("You trade.", "What now?", BAD)
    assert "action: Input should be 'BUY', 'HOLD' or 'SELL' (got 'MOON')" in correction.text


def test_conversation_of_corrections_does_not_grow(request_of):
    backend = Scripted(BAD)
    with pytest.raises(NoReplyError, match="no usable reply in 3 tries"):
        LLM(backend).ask(request_of())
    assert [len(asked.messages) for asked in backend.asked] == [2, 4, 4]


@pytest.mark.parametrize(
    ("reply", "wrong"),
    [
        ("x" * 10_000_000, "more than 20000 characters"),
        ('{"reason": "cut off", "act', "JSON is broken"),
        ("no object at all", "no JSON object"),
        ('{"a": ' * 100_000, "nested too deeply|more than"),
        ('{"reason": ' + "[" * 9_000, "nested too deeply|JSON is broken"),
        ('{"reason": "x", "action": ' + "9" * 5_000 + "}", "too long a number|got '999"),
        ("[1, 2]", "no JSON object"),
        (BAD, "action: Input should be"),
        ('{"action": "BUY"}', "reason: Field required"),
        ('{"reason": "", "action": "BUY"}', "at least 1"),
        ("", "no JSON object"),
    ],
    ids=lambda value: value[:20],
)
def test_hostile_reply_ends_in_a_recorded_failure(request_of, reply, wrong):
    llm = LLM(Scripted(reply), corrections=1)
    with pytest.raises(NoReplyError, match=wrong):
        llm.ask(request_of())
    calls = llm.ledger.calls()
    assert len(calls) == 2 and calls.reply.str.len().max() <= 20_001


@pytest.mark.parametrize(
    "reply",
    [f"```json\n{GOOD}\n```", f"I think so.\n{GOOD} Good luck!", GOOD.replace("it", "\\ud800it")],
    ids=["fence", "chatter", "surrogate"],
)
def test_object_is_found_among_other_words(request_of, reply):
    answer = LLM(Scripted(reply)).ask(request_of())
    assert (answer.reason, answer.action) == ("it rises", "BUY")


def test_budget_of_calls_stops_before_the_next_call_and_keeps_the_answers(request_of, tmp_path):
    path, backend = tmp_path / "calls.sqlite", Scripted(GOOD)
    llm = LLM(backend, Ledger(path), Budget(calls=2))
    for text in "ab":
        llm.ask(request_of(text))
    with pytest.raises(BudgetError, match="2 calls is used up"):
        llm.ask(request_of("c"))
    later = LLM(backend, Ledger(path), Budget(calls=1))
    for text in "abc":
        later.ask(request_of(text))
    assert len(backend.asked) == 3


def test_budget_of_tokens_counts_prompt_and_reply(request_of):
    llm = LLM(Scripted(GOOD), budget=Budget(tokens=20))
    llm.ask(request_of("a"))
    llm.ask(request_of("b"))
    with pytest.raises(BudgetError, match="20 tokens"):
        llm.ask(request_of("c"))


def test_budget_of_money_needs_a_price():
    with pytest.raises(ValueError, match="needs a price"):
        LLM(Scripted(GOOD), budget=Budget(money=1.0))


def test_failed_question_is_asked_anew_only_when_it_is_forgotten(request_of):
    backend = Scripted(BusyError("down"))
    llm = LLM(backend, attempts=1)
    for _ in range(2):
        with pytest.raises(NoReplyError, match="down"):
            llm.ask(request_of())
    assert len(backend.asked) == 1
    backend.replies = [GOOD]
    assert llm.ledger.forget_failures() == 1
    assert llm.ask(request_of()).action == "BUY"


def test_foreign_file_is_refused_as_a_ledger(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("date,open\n" * 500)
    with pytest.raises(ValueError, match="can't be used as a ledger"):
        Ledger(path)


@pytest.mark.parametrize(
    ("cutoff", "first", "known"),
    [
        ("2023-12-01", "2023-12-01", True),
        ("2023-12-01", "2023-12-02", False),
        (None, "2030-01-01", True),
        (NOTHING_KNOWN, "1990-01-01", False),
    ],
)
def test_days_up_to_the_knowledge_cut_off_are_stamped(cutoff, first, known):
    llm = LLM(Replay({}, cutoff=cutoff))
    assert bool(llm.stamp(pd.Timestamp(first), pd.Timestamp("2031-01-01"))) is known


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("opnai:gpt", "Did you mean 'openai'"),
        ("openai", "names no model"),
        ("replay:nowhere.jsonl", "can't read"),
        ("tiny:nowhere", "no config.json"),
        ("hf:/nowhere/at/all", "can't be loaded"),
    ],
)
def test_name_of_no_model_says_what_is_wrong(name, message):
    with pytest.raises(LLMError, match=message):
        LLM.open(name)


def test_misspelt_setting_of_a_backend_is_refused(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text("")
    with pytest.raises(LLMError, match=r"takes no setting 'cutof'.*Did you mean 'cutoff'"):
        LLM.open(f"replay:{path}", cutof="2023-01-01")


def test_recorded_reply_is_chosen_by_digest_then_by_task(request_of, tmp_path):
    path = tmp_path / "replies.jsonl"
    special = request_of("special")
    lines = [
        {"task": "test.verdict", "reply": GOOD},
        {"digest": special.digest, "reply": GOOD.replace("BUY", "SELL")},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    llm = LLM.open(f"replay:{path}")
    assert llm.ask(request_of()).action == "BUY"
    assert llm.ask(special).action == "SELL"


@pytest.mark.parametrize("line", ["{", "[]", '{"task": "x"}', '{"task": 1, "reply": "x"}'])
def test_broken_line_of_recorded_replies_is_named(tmp_path, line):
    path = tmp_path / "replies.jsonl"
    path.write_text(f'{{"task": "x", "reply": "y"}}\n{line}\n')
    with pytest.raises(LLMError, match="line 2"):
        Replay(path)


def test_missing_recorded_reply_stops_the_run(request_of):
    with pytest.raises(LLMError, match=r"no reply for test\.verdict"):
        LLM(Replay({"other": [GOOD]})).ask(request_of())


def test_marks_of_a_chat_can_not_be_smuggled_into_a_ledger(request_of):
    llm = LLM(Scripted(GOOD.replace("it rises", "<|im_end|>\\u0000it rises")))
    assert llm.ask(request_of("a\ud800b")).reason == "it rises"
    assert "ab" in llm.ledger.calls().prompt[0]


def test_request_digest_depends_on_the_task(request_of):
    asked = request_of()
    assert Request("other", asked.messages, asked.form).digest != asked.digest
    assert Message("user", "a").digest != Message("system", "a").digest


def test_ledger_is_shared_by_processes_that_write_at_once(request_of, tmp_path):
    path = tmp_path / "calls.sqlite"

    def ask(name):
        llm = LLM(Scripted(GOOD), Ledger(path))
        for number in range(25):
            llm.ask(request_of(f"{name} {number}"))

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Ledger(path).calls()) == 100
