"""What an interrupted stage 0 left is taken up where it was made of the same, else made again."""

import itertools

import pytest
import torch

from mmdrex.data.simulated import simulated_bars
from mmdrex.training import charts
from mmdrex.training.language import LanguageConfig
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
