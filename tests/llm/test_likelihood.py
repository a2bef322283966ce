"""The embedded model chooses by likelihood and says that it knows nothing."""

import json

import pytest
import torch

from mmdrex.llm import LLM
from mmdrex.llm.backends import NOTHING_KNOWN
from mmdrex.llm.likelihood import Likelihood
from mmdrex.router.backbone import BACKBONES


@pytest.fixture(scope="module")
def tiny():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Likelihood(BACKBONES["tiny"].path, tokens=48)
    torch.set_num_threads(threads)


def test_reply_is_a_choice_and_says_that_it_knows_nothing(tiny, request_of):
    answer = LLM(tiny).ask(request_of())
    assert answer.action in ("BUY", "HOLD", "SELL")
    assert "knows nothing" in answer.reason
    assert tiny.cutoff == NOTHING_KNOWN


def test_choice_has_the_highest_mean_likelihood_of_a_plain_forward_pass(tiny, request_of):
    request = request_of("RSI 71.3, price 512.7")
    prompt = tiny._ids("You trade.\nRSI 71.3, price 512.7") + tiny._ids('\n"action": ')
    scores = {}
    for choice in ("BUY", "HOLD", "SELL"):
        ids = torch.tensor([prompt + tiny._ids(json.dumps(choice))])
        labels = ids.clone()
        labels[:, : len(prompt)] = -100
        with torch.inference_mode():
            scores[choice] = -float(tiny._model(input_ids=ids, labels=labels).loss)
    assert json.loads(tiny.reply(request).text)["action"] == max(scores, key=scores.get)


def test_choice_depends_on_the_prompt_and_on_nothing_else(tiny, request_of):
    texts = [f"close {price}" for price in range(100, 180, 16)]
    first = [tiny.reply(request_of(text)).text for text in texts]
    assert first == [tiny.reply(request_of(text)).text for text in texts]
