"""LightGBM, LSTM and Transformer learn what there is to learn, and nothing where there is none."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from baselines import BASELINES
from baselines.supervised import _best_zone

spec = importlib.util.spec_from_file_location("planted", Path(__file__).with_name("planted.py"))
planted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(planted)

MODELS = ["lgbm", "lstm", "transformer"]
FIT, SELECT, TEST = 5000, 1500, 4000  # bars


def accuracy(name, shuffled):
    """Return how often the sign of the next five bars is right, on bars after all that was seen."""
    bars = planted.planted_bars(1, FIT + SELECT + TEST, shuffled)
    seen = bars.iloc[: FIT + SELECT]
    quick = {"epochs": 20, "learning_rate": 1e-3, "patience": 3} if name != "lgbm" else {}
    model = BASELINES[name].with_settings(**quick).fit({"P": bars.iloc[:FIT]}, {"P": seen})
    model.dead_zone = 0.0
    side = model.targets(bars).to_numpy()[FIT + SELECT : -5]
    close = bars["close"].to_numpy()[FIT + SELECT :]
    return np.mean(side == np.sign(close[5:] - close[:-5]))


def test_bayes_rate_is_about_seventy_percent():
    # Counted: the sign of the hidden drift against the sign of the return, over many bars.
    rate = planted.bayes_rate()
    bars = planted.planted_bars(2, 200_000)
    close, hidden = bars["close"].to_numpy(), np.log(bars["volume"].to_numpy())
    known = np.sign(hidden - np.log(1e6))[:-5]
    assert np.mean(known == np.sign(close[5:] - close[:-5])) == pytest.approx(rate, abs=0.005)
    assert 0.68 < rate < 0.76


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_planted_signal_is_found(name):
    reached = accuracy(name, shuffled=False)
    assert 0.60 <= reached <= planted.bayes_rate() + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_shuffled_signal_is_not_found(name):
    # 4000 overlapping five-bar returns weigh like 800: four deviations of a coin are 0.07.
    assert accuracy(name, shuffled=True) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("name", MODELS)
def test_unfitted_baseline_says_so(name, market):
    with pytest.raises(ValueError, match="learned nothing yet"):
        BASELINES[name]().targets(market[1]["SIM"])


@pytest.mark.parametrize("name", MODELS)
def test_too_few_bars_are_refused(name, market):
    few = {"SIM": market[1]["SIM"].iloc[:100]}
    with pytest.raises(ValueError, match="no bar to learn from"):
        BASELINES[name]().fit(few, few)


def test_outcomes_of_select_start_after_train_and_none_is_cut_off(market):
    train, select = market
    model = BASELINES["lgbm"]()
    # 600 bars: 118 to warm up, 5 whose outcome lies after the end; then 300, less 5 again.
    assert len(model._samples(train, {}).returns) == 600 - 118 - 5
    assert len(model._samples(select, train).returns) == 300 - 5


def test_dead_zone_leaves_out_what_is_uncertain_and_wrong():
    probability = np.r_[np.full(50, 0.6), np.full(50, 0.505)]
    returns = np.r_[np.full(25, 0.02), np.full(25, 0.01), np.full(50, -0.01)]
    assert _best_zone(probability, returns) == 0.01


def test_dead_zone_does_not_leave_everything_in_cash():
    probability = np.r_[np.full(5, 0.7), np.full(95, 0.505)]
    returns = np.r_[np.full(5, 0.02), np.full(95, -0.01)]
    assert _best_zone(probability, returns) == 0.0
