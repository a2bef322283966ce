"""The baselines that ask a language model, as a user of the command line meets them."""

import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

import baselines
from baselines import BASELINES
from mmdrex.data.sample import sample_bars
from mmdrex.engines import backtest, job
from mmdrex.engines.comparison import compare
from mmdrex.engines.vectorbt import vectorbt_portfolio
from mmdrex.llm import LLM, Ledger
from mmdrex.llm.replay import Replay

FILE = Path(__file__).with_name("replies.jsonl")
REPLIES = f"replay:{FILE}"


@pytest.fixture
def call(call, monkeypatch, tmp_path):
    """Return a function that gives exit code, output and error output of the command line."""
    monkeypatch.chdir(tmp_path)
    # Pictures and tearsheets take most of a run's time and are tested elsewhere.
    for slow in ("save_figure", "write_tearsheet"):
        monkeypatch.setattr(job, slow, lambda *_: None)
    monkeypatch.setattr(backtest, "compare", partial(compare, samples=10))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    prices = sample_bars("sp500").loc["2005":"2008-03"]
    prices.to_csv("SPX.csv", index_label="date")
    return call


BACKTEST = ("backtest", "SPX.csv", "--start", "2008-03-03", "--engine", "vectorbt")


def test_agent_is_asked_on_traded_days_alone_and_leaves_a_journal(call):
    code, out, _ = call(*BACKTEST, "--strategy", "finagent", "--llm", REPLIES, "--out", "runs/spx")
    assert code == 0
    journal = pd.read_csv("runs/spx/journal.csv", parse_dates=["time"])
    march = sample_bars("sp500").loc["2008-03"].index
    # From the close before the first day traded on.
    assert list(journal["time"]) == [pd.Timestamp("2008-02-29"), *march]
    assert json.loads(Path("runs/spx/agent.json").read_text())["settings"]["llm"] == REPLIES
    assert "NO NEWS, MODEL MAY KNOW THE OUTCOME (cut-off unknown)" in out
    assert "the data" not in out and f"{len(Ledger('runs/calls.sqlite').calls())} times" in out


def test_second_run_calls_nobody(call):
    run = (*BACKTEST, "--strategy", "finagent", "--llm", REPLIES, "--out", "runs/spx")
    call(*run)
    code, out, _ = call(*run)
    assert code == 0 and "was called 0 times" in out


def test_fit_fills_finmem_s_memory_and_its_folder_trades(call):
    options = ("--select", "2007-12-01", "--end", "2007-12-31", "--set", "warmup=10")
    code, out, _ = call("fit", "finmem", "SPX.csv", "--llm", REPLIES, *options)
    assert code == 0 and "runs/finmem" in out
    fitted = baselines.load("runs/finmem")
    assert fitted.trained == ("2005-01-03", "2007-12-31")
    assert fitted.learned() == {"ends": {"SPX": "2007-12-31T00:00:00"}}
    code, out, _ = call(*BACKTEST, "--strategy", "runs/finmem", "--cutoff", "2007-06-30")
    assert code == 0
    assert "split train, NO NEWS\n" in out  # known until 2007, traded in 2008


@pytest.mark.parametrize("name", ["finagent", "finmem", "llmoe"])
def test_anonymous_mode_is_one_option_for_every_agent(call, name):
    options = ("--select", "2007-01-01", "--llm", REPLIES, "--set", "every=5", "--anonymous")
    quick = {"finmem": ("--set", "warmup=5"), "llmoe": ("--set", "samples=80")}.get(name, ())
    assert call("fit", name, "SPX.csv", "--end", "2007-12-31", *options, *quick)[0] == 0
    assert call(*BACKTEST, "--strategy", f"runs/{name}", "--anonymous")[0] == 0
    prompts = " ".join(Ledger("runs/calls.sqlite").calls()["prompt"])
    assert "SPX" not in prompts and "2007-" not in prompts and "2008-" not in prompts


def test_embedded_model_says_that_it_knows_nothing(call):
    options = ("--set", "every=10", "--set", "llm_settings.tokens=16")
    code, out, _ = call(*BACKTEST, "--strategy", "finmem", *options)
    assert code == 0 and "NO NEWS, MODEL KNOWS NOTHING" in out


def test_used_up_budget_ends_in_one_line_and_a_larger_one_goes_on(call):
    run = (*BACKTEST, "--strategy", "finagent", "--llm", REPLIES)
    code, _, err = call(*run, "--calls", 20)
    assert code == 2 and "the budget of 20 calls is used up" in err
    kept = len(Ledger("runs/calls.sqlite").calls())
    assert call(*run)[0] == 0
    assert kept == 20


def test_failures_are_asked_again_on_demand(call):
    run = (*BACKTEST, "--strategy", "finagent", "--llm", "openai:none", "--calls", 100)
    nobody = [f"llm_settings.{s}" for s in ("base_url=http://127.0.0.1:9/v1", "attempts=1")]
    options = [word for setting in nobody for word in ("--set", setting)]
    for again, calls in (((), 21), ((), 0), (("--ask-again",), 21)):
        code, out, _ = call(*run, *options, *again)
        assert code == 0 and f"was called {calls} times" in out


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("--strategy", "finagnet"), "Did you mean 'finagent'"),
        (("--strategy", "llmoe"), "llmoe has learned nothing yet"),
        (("--strategy", "finagent", "--llm", "openia:gpt"), "Did you mean 'openai'"),
        (("--strategy", "finagent", "--llm", "openai:gpt-5"), "OPENAI_API_KEY"),
        (("--strategy", "finagent", "--llm", "replay:none.jsonl"), "none.jsonl"),
        (("--strategy", "finagent", "--cutoff", "2020-01-01"), "tiny takes no setting 'cutoff'"),
        (("--strategy", "finagent", "--cutoff", "soon"), "--cutoff must be a date"),
        (("--strategy", "finagent", "--set", "start=2008"), "start must be of type str"),
        (("--strategy", "finagent", "--set", "memory=none/x", "--llm", REPLIES), "none/x"),
        (("--strategy", "turtle", "--llm", "tiny"), "rule turtle has no parameter 'llm'"),
        (("--llm", "tiny"), "name it by --strategy"),
    ],
)
def test_bad_options_end_in_one_line_that_helps(call, arguments, answer):
    code, _, err = call(*BACKTEST, *arguments)
    assert code == 2
    assert answer in err.splitlines()[-1]
    assert "Traceback" not in err


def test_what_a_fitted_agent_rests_on_is_not_changed_later(call):
    options = ("--select", "2007-12-01", "--end", "2007-12-31", "--set", "warmup=2")
    call("fit", "finmem", "SPX.csv", "--llm", REPLIES, *options)
    for option in (("--llm", "tiny"), ("--anonymous",)):
        code, _, err = call(*BACKTEST, "--strategy", "runs/finmem", *option)
        assert code == 2 and "fit it again" in err


@pytest.mark.parametrize(
    ("cutoff", "start", "stamps"),
    [
        (None, "2008-01-02", "NO NEWS, MODEL MAY KNOW THE OUTCOME (cut-off unknown)"),
        ("2008-02-01", "2008-01-02", "NO NEWS, MODEL MAY KNOW THE OUTCOME (cut-off 2008-02-01)"),
        ("2008-02-01", "2008-02-05", "NO NEWS"),
    ],
)
def test_comparison_says_what_the_model_may_know(cutoff, start, stamps):
    bars = sample_bars("sp500").loc["2005":"2008-03"]
    agent = BASELINES["finagent"](start=start, every=20).using(LLM(Replay(FILE, cutoff=cutoff)))
    target = agent.targets(bars)
    rows = {"as targets": target, "in vectorbt": vectorbt_portfolio(bars, target)}
    table = compare(rows, bars, start=start, samples=10)
    assert list(table["split"]) == [f"train, {stamps}"] * 2
