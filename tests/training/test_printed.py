import re

import numpy as np
import pytest
import torch

from mmdrex import sample_bars
from mmdrex.data.simulated import simulated_bars
from mmdrex.errors import LossError
from mmdrex.observation.observation import Observer
from mmdrex.router.router import Router
from mmdrex.training import language
from mmdrex.training.charts import _again, observe
from mmdrex.training.language import APART, LanguageConfig, _tokens_after
from mmdrex.training.printed import NAMES, number_ends, printed
from mmdrex.training.reading import ReadingHeads, answers

NUMBER = r"(-?[\d.]+)"
# A pattern of the prompt for every figure, and how the figure follows from the number printed.
PRINTED = {
    "ma10": (rf"MA10 {NUMBER}", "price"),
    "ma20": (rf"MA20 {NUMBER}", "price"),
    "ma100": (rf"MA100 {NUMBER}", "price"),
    "upper": (rf"upper {NUMBER}", "price"),
    "lower": (rf"lower {NUMBER}", "price"),
    "rsi": (rf"RSI\(14\) {NUMBER}", "share"),
    "k": (rf"KDJ: K {NUMBER}", "share"),
    "d": (rf", D {NUMBER}", "share"),
    "j": (rf", J {NUMBER}", "share"),
    "place in the band": (rf"price at {NUMBER}%", "share"),
    "volume ratio": (rf"ratio {NUMBER}", "ratio"),
    "change": (rf"Change {NUMBER}%", "share"),
    "width of the band": (rf"width {NUMBER}%", "size"),
    "amplitude": (rf"amplitude {NUMBER}%", "size"),
    "ATR": (rf"ATR\(14\) {NUMBER}%", "size"),
    "volatility": (rf"volatility {NUMBER}%", "size"),
    "momentum": (rf"10-day momentum {NUMBER}%", "return"),
    "range of 20 bars": (rf"20-day range {NUMBER}%", "size"),
    "return since the bar before the window": (rf"past 100 days {NUMBER}%", "return"),
}
FIGURE = {
    "price": lambda value: np.log(value / 100.0),  # an anonymous prompt calls the close 100
    "share": lambda value: value / 100.0,
    "ratio": np.log1p,
    "size": lambda value: np.log(value / 100.0 + 1e-4),
    "return": lambda value: np.log1p(value / 100.0),
}


@pytest.mark.parametrize("bar", [700, 2000, 4321])
@pytest.mark.parametrize("name", ["sp500", "nasdaq"])
def test_figures_are_the_numbers_of_the_text(name, bar):
    seen = Observer(sample_bars(name), name, anonymous=True).at(bar)
    text = seen.text[seen.text.index("Market:") :]
    told = dict(zip(NAMES, printed([seen.window])[0], strict=True))
    after = {text[end] for end in number_ends(text)}
    assert after == {" ", ",", "%", "\n"}
    closes = re.search(r"Last 10 closes: (.*)", text)[1].split()
    expected = {
        f"close {9 - place} bars ago": np.log(float(value) / 100.0)
        for place, value in enumerate(closes[:-1])
    }
    for figure, (pattern, kind) in PRINTED.items():
        expected[figure] = FIGURE[kind](float(re.search(pattern, text)[1]))
    assert set(expected) == set(told)
    numbers = {
        name: float(re.search(r"-?[\d.]+$", text[:end])[0])
        for name, end in zip(NAMES, number_ends(text), strict=True)
    }
    for figure, (pattern, _) in PRINTED.items():
        assert numbers[figure] == float(re.search(pattern, text)[1])
    for figure, value in expected.items():  # the text rounds to three or four digits
        assert told[figure] == pytest.approx(value, rel=0.01, abs=2e-3), figure


def test_a_market_that_never_moves_has_finite_figures():
    bars = simulated_bars(0, bars=400)[0]
    bars[["open", "high", "low", "close"]] = 10.0
    assert np.isfinite(printed([Observer(bars, "still").at(300).window])).all()


@pytest.mark.parametrize("modalities", ["L", "VL", "VTL"])
@pytest.mark.parametrize("anonymous", [True, False])
def test_each_number_is_asked_for_at_the_token_that_follows_it(modalities, anonymous):
    processor = Router.from_pretrained("tiny", cache=False).processor.seeing(modalities)
    observer = Observer(sample_bars("nasdaq"), "nasdaq", anonymous=anonymous)
    asked = [observer.at(bar) for bar in (900, 1800)]
    read = processor(asked)
    places = _tokens_after(processor, asked, torch.tensor([len(one.ids) - 1 for one in read]))
    for one, row, own in zip(asked, read, places.tolist(), strict=True):
        for end, place in zip(number_ends(one.text), own, strict=True):
            before, after = row.ids[:place], row.ids[place]
            number = re.search(r"-?\d[\d.]*$", one.text[:end])[0]
            assert processor.tokenizer.decode(before).endswith(number)
            assert processor.tokenizer.decode([after])[0] == one.text[end]


def test_a_text_without_numbers_is_refused():
    with pytest.raises(ValueError, match="prints no numbers as expected: 'Buy low'"):
        number_ends("Buy low")


def test_the_loss_of_printed_numbers_asks_twice():
    bars = simulated_bars(7, bars=400)[0]
    observer = Observer(bars, "market")
    truth = answers([observer.at(250 + 20 * i).window for i in range(4)])
    heads = ReadingHeads(8, answers([observer.at(220 + 5 * i).window for i in range(20)]))
    draw = torch.Generator().manual_seed(0)
    states, there = torch.randn(4, 8, generator=draw), torch.randn(4, len(NAMES), 8, generator=draw)
    wanted = (truth.printed - heads.printed_mean) / heads.printed_deviation
    wanted = wanted.clamp(-4.0, 4.0).numpy()
    weight, bias = (part.detach().numpy() for part in heads.printed.parameters())
    told = states.numpy() @ weight.T + bias
    each = np.stack([there[:, f].numpy() @ weight[f] + bias[f] for f in range(len(NAMES))], axis=1)
    expected = ((told - wanted) ** 2).mean() + ((each - wanted) ** 2).mean()
    loss = heads.printed_loss(states, there, truth)
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_numbers_are_asked_of_the_window_whose_text_is_shown(monkeypatch):
    settings = LanguageConfig(steps=1, batch=3, shares=((APART, 1.0),), compile=False)
    market = simulated_bars(7, bars=400)[0]
    shown = observe({"market": market}, 12, seed=1)
    rows = {"V": np.array([0, 1, 2]), "T": np.array([3, 4, 5]), "L": np.array([6, 7, 8])}
    asked = {}

    def places(processor, observations, last):
        asked["texts"] = [one.text for one in observations]
        return _tokens_after(processor, observations, last)

    usual = ReadingHeads.printed_loss

    def loss(heads, states, there, truth):
        asked["truth"], asked["there"] = truth.printed, there
        return usual(heads, states, there, truth)

    monkeypatch.setattr(language, "_rows", lambda *_: rows)
    monkeypatch.setattr(language, "_tokens_after", places)
    monkeypatch.setattr(ReadingHeads, "printed_loss", loss)
    tokens = torch.zeros(len(shown), 128, 256, dtype=torch.float16)
    trends = np.zeros(len(shown), dtype=np.int64)
    language.train_language(_again("tiny", settings, 43), shown, tokens, trends, settings, False)
    texts = [shown[row] for row in rows["L"]]
    assert asked["texts"] == [one.text for one in texts]
    assert np.array_equal(asked["truth"], printed([one.window for one in texts]))
    assert asked["there"].shape == (3, len(NAMES), 256)


def test_a_loss_that_is_no_number_stops_stage_0():
    settings = LanguageConfig(steps=1, batch=2, first=0.0, shares=(("V", 1.0),), compile=False)
    shown = observe({"market": simulated_bars(7, bars=400)[0]}, 4, seed=1)
    tokens = torch.full((len(shown), 128, 256), torch.nan, dtype=torch.float16)
    trends = np.zeros(len(shown), dtype=np.int64)
    with pytest.raises(LossError, match="the language model is nan at step 0 of stage 0"):
        language.train_language(
            _again("tiny", settings, 43), shown, tokens, trends, settings, progress=False
        )
