"""What an interrupted stage 0 left is taken up where it was made of the same, else made again."""

import itertools

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from mmdrex.data.simulated import simulated_bars
from mmdrex.training import charts, language, language_states
from mmdrex.training.language import LanguageConfig
from mmdrex.training.language_states import Kept
from mmdrex.training.vision import VisionConfig

VISION = VisionConfig(steps=2, batch=2, compile=False)
LANGUAGE = LanguageConfig(windows=8, steps=1, batch=2, compile=False)


@pytest.fixture
def made(monkeypatch):
    """Return what was made, in order: the tower, the image tokens."""
    log, count = [], itertools.count(1)

    def tower(model, *given):
        log.append("tower")
        with torch.no_grad():  # as if it had learned, each time something else
            next(model.model.visual.parameters()).add_(next(count))

    def tokens(router, observations, *_):
        log.append("tokens")
        return torch.zeros(len(observations), 1)

    monkeypatch.setattr(charts, "SIMULATED", 1)
    monkeypatch.setattr(charts, "train_vision", tower)
    monkeypatch.setattr(charts, "see_fast", tokens)
    monkeypatch.setattr(charts, "train_language", lambda *_: None)
    monkeypatch.setattr(charts, "store", lambda *_: None)
    return log


def test_stage_0_makes_again_what_was_made_of_something_else(tmp_path, made):
    market, other = (simulated_bars(seed, bars=300)[0] for seed in (7, 8))

    def begin(bars=market, vision=VISION, language=LANGUAGE, seed=42, init=None):
        made.clear()
        charts.train_charts({"market": bars}, tmp_path, vision, language, seed, False, init)
        return list(made)

    assert begin() == ["tower", "tokens"]
    assert begin() == []  # as a run that goes on
    assert begin(bars=other) == ["tower", "tokens"]
    assert begin(bars=other, seed=1) == ["tokens"]  # other windows, the same tower
    assert begin(bars=other, seed=1, vision=VisionConfig(steps=3)) == ["tower", "tokens"]
    assert begin(bars=other, seed=1, init="tiny") == ["tokens"]  # of tiny's own tower
    assert begin(bars=other, seed=1, init="tiny") == []


def test_a_language_model_goes_on_bit_for_bit_from_its_last_state(tmp_path, monkeypatch):
    settings = LanguageConfig(steps=5, batch=2, compile=False, seed=43)
    shown = charts.observe({"market": simulated_bars(7, bars=400)[0]}, 6, seed=1)
    tokens = torch.randn(len(shown), 128, 256, generator=torch.Generator().manual_seed(0)).half()
    trends = np.zeros(len(shown), dtype=np.int64)
    monkeypatch.setattr(language, "STEPS", 2)
    usual, steps = language._rows, []

    def rows(*given):
        steps.append(given)
        if len(steps) == dies:
            raise KeyboardInterrupt
        return usual(*given)

    monkeypatch.setattr(language, "_rows", rows)

    def train(made_of, folder):
        steps.clear()
        router = charts._again("tiny", settings, 43)
        kept = Kept(tmp_path / folder, made_of)
        language.train_language(router, shown, tokens, trends, settings, False, kept)
        return router.state_dict()

    dies = None
    whole = train("the same", "undisturbed")
    assert len(steps) == 5
    dies = 4
    with pytest.raises(KeyboardInterrupt):
        train("the same", "killed")
    dies = None
    again = train("the same", "killed")
    assert len(steps) == 3  # from the state after two steps
    assert all(torch.equal(weight, again[name]) for name, weight in whole.items())
    train("something else", "killed")
    assert len(steps) == 5


def test_a_full_disk_leaves_the_last_state(tmp_path, monkeypatch):
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizers, rng = [torch.optim.AdamW([weight])], np.random.default_rng(1)
    kept = Kept(tmp_path / "answering", "the same")
    kept.save(1, [weight], optimizers, rng)

    def full(*_):
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr(language_states, "save_file", full)
    with pytest.raises(OSError, match=r"No space left .*the checkpoint .*answering is intact"):
        kept.save(2, [weight], optimizers, rng)
    assert kept.load([weight], optimizers, rng) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["answering"]
