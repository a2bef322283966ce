"""Agents on models that really answer: the embedded one, and one behind `transformers serve`."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
import torch
from pydantic import BaseModel

from baselines import BASELINES
from mmdrex.data.sample import sample_bars
from mmdrex.llm import LLM, Ledger, Message, Request
from mmdrex.llm.answers import Text
from mmdrex.llm.local_model import LocalModel
from mmdrex.router.backbone import BACKBONES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REPLIES = Path(__file__).with_name("replies.jsonl")
TINY = BACKBONES["tiny"].path
QUICK = {"finagent": {}, "finmem": {"warmup": 20}, "llmoe": {"samples": 80}}


class Verdict(BaseModel):
    action: Text


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def history():
    return sample_bars("sp500").loc["2005":"2008"]


@pytest.mark.parametrize("name", list(QUICK))
def test_embedded_model_decides_on_a_full_year(history, name):
    agent = BASELINES[name](llm_settings={"tokens": 48}, start="2008-01-01", **QUICK[name])
    agent.fit({"sp500": history.loc[:"2006"]}, {"sp500": history.loc[:"2007"]})
    target = agent.targets(history)
    assert len(agent.journal) == len(history.loc["2008"])
    assert (agent.journal.failure == "").all() and (agent.journal.stamp == "").all()
    assert agent.journal.reason.str.contains("knows nothing").all()
    pd.testing.assert_series_equal(agent.targets(history), target)  # from the ledger


def test_killed_process_resumes_from_its_ledger(history, tmp_path):
    bars, path = history.loc[:"2008-03"], tmp_path / "calls.sqlite"
    code = (
        "import sys, time\n"
        "from baselines import BASELINES\n"
        "from mmdrex.data.sample import sample_bars\n"
        "from mmdrex.llm import LLM, Ledger\n"
        "from mmdrex.llm.replay import Replay\n"
        "class Slow(Replay):\n"
        "    def reply(self, request):\n"
        "        time.sleep(0.02)\n"
        "        return super().reply(request)\n"
        "bars = sample_bars('sp500').loc['2005':'2008-03']\n"
        f"llm = LLM(Slow({str(REPLIES)!r}), Ledger({str(path)!r}))\n"
        "BASELINES['finagent'](start='2008-01-01').using(llm).targets(bars)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    deadline = time.monotonic() + 90
    while not (path.exists() and len(Ledger(path).calls()) > 40):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = len(Ledger(path).calls())

    def run(ledger):
        agent = BASELINES["finagent"](llm=f"replay:{REPLIES}", ledger=ledger, start="2008-01-01")
        return agent.targets(bars), len(agent.model.ledger.calls())

    target, calls = run(None)
    resumed, all_calls = run(str(path))
    pd.testing.assert_series_equal(resumed, target)
    assert kept < calls == all_calls


@pytest.fixture(scope="module")
def served():
    """Return the address of `transformers serve` with the embedded checkpoint on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    process = subprocess.Popen(
        [
            *(program, "serve", TINY, "--host", "127.0.0.1", "--port", str(port)),
            *("--device", "cpu", "--dtype", "float32"),
        ],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.5)
    yield f"{address}/v1"
    process.terminate()
    process.wait(20)


def test_agent_talks_to_a_live_server_and_holds_where_it_babbles(history, served):
    """The embedded checkpoint never learned to write JSON: no reply may become a trade."""
    settings = {"base_url": served, "max_tokens": 12, "images": False, "corrections": 1}
    agent = BASELINES["finmem"](llm=f"openai:{TINY}", llm_settings=settings, start="2008-01-01")
    target = agent.targets(history.loc[:"2008-01-08"])
    calls = agent.model.ledger.calls()
    assert len(calls) == 2 * len(agent.journal) and (calls.outcome == "reply").all()
    # It may end a reply of its own accord; it never writes more than it was allowed.
    assert (calls.prompt_tokens > 100).all() and calls.reply_tokens.between(1, 12).all()
    assert (agent.journal.action == "HOLD").all() and (target == 0.0).all()
    assert agent.journal.failure.str.contains("no JSON object|JSON is broken").all()


def test_local_model_answers_and_says_where_charts_are_left_out(caplog):
    backend = LocalModel(TINY, max_tokens=8, dtype=torch.float32, local_files_only=True)
    assert "charts are left out" in caplog.text  # the checkpoint has no image processor
    request = Request("test", (Message("user", "RSI(14) 71.3"),), Verdict)
    replies = [backend.reply(request) for _ in range(2)]
    assert replies[0] == replies[1] and replies[0].reply_tokens == 8
    assert LLM(backend).backend.model == f"hf:{TINY}"
