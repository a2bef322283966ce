from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mmdrex.data.sample import sample_bars
from mmdrex.observation.observation import Observation, Observer
from mmdrex.router.router import ADAPTER, Router


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.from_pretrained("tiny", cache=False)


@pytest.fixture(scope="module")
def observations() -> list[Observation]:
    observer = Observer(sample_bars("sp500"), "sp500")
    return [observer.at(t) for t in (198, 700, 1200, 2500)]


def test_weights_are_a_split_and_the_rule_is_the_most_probable(
    router: Router, observations: list[Observation]
) -> None:
    for decision in router.decide(observations):
        assert decision.weights.shape == (4,)
        assert decision.weights.min() > 0 and decision.weights.sum() == pytest.approx(1, abs=1e-12)
        for expert, rules in router.rules.items():
            policy = decision.probabilities[expert]
            assert tuple(policy) == rules and sum(policy.values()) == pytest.approx(1, abs=1e-12)
            assert policy[decision.rules[expert]] == max(policy.values())


def test_a_decision_does_not_depend_on_what_else_is_asked(
    router: Router, observations: list[Observation]
) -> None:
    together = router.decide(observations)
    alone = [router.decide([one])[0] for one in observations]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.weights, other.weights)
        assert one.to_json() == other.to_json()


def test_batches_of_many_agree_with_single_decisions_to_rounding(
    router: Router, observations: list[Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = router.decide(observations)
    monkeypatch.setattr(router, "batch", 16)
    for one, other in zip(router.decide(observations), alone, strict=True):
        # Tolerance: float32 sums in another order.
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)


def test_a_prompt_takes_at_most_512_tokens_account_line_included(router: Router) -> None:
    from mmdrex.observation.text import Account

    bars = sample_bars("nasdaq")
    observer = Observer(bars, "a rather long symbol")
    for t in range(198, len(bars), 250):
        account = Account(cash=-123_456_789.12, shares=98_765.4321, value=987_654_321.98)
        one = observer.at(t, account)
        inputs = router.processor.inputs(one.text, one.series)
        assert len(inputs.ids) <= 512
        assert int(inputs.types.sum()) == sum(router.processor.image_tokens()) == 128


@torch.inference_mode()
def test_all_adapters_side_by_side_equal_the_whole_model_under_each(
    observations: list[Observation],
) -> None:
    """The model's own forward on pixels, ids and token types, one adapter at a time."""
    router = _with_other_adapters()
    one = observations[1]
    inputs = router.processor.inputs(one.text, one.series)
    states = router.states(router.trunk([inputs], router.vision([one])), (ADAPTER, *router.rules))
    charts = [
        router.processor.patches(chart[None].copy()) for chart in router.processor.charts(one)
    ]
    model = router.vlm.get_base_model().model
    embeds = model.get_input_embeddings()(inputs.ids[None])
    place = (inputs.ids[None] == router.processor.series_token_id)[..., None]
    embeds = embeds.masked_scatter(place, router.series(torch.from_numpy(one.series)[None]))
    for row, adapter in enumerate((ADAPTER, *router.rules)):
        router.vlm.set_adapter(adapter)
        whole = model(
            input_ids=inputs.ids[None],
            inputs_embeds=embeds,
            pixel_values=torch.cat([patches[0] for patches, _ in charts]),
            image_grid_thw=torch.cat([grid for _, grid in charts]),
            mm_token_type_ids=inputs.types[None],
            use_cache=False,
        ).last_hidden_state[0, -1]
        # Tolerance: float32 sums in another order, of states of size 5.
        torch.testing.assert_close(whole, states[row, 0], atol=2e-5, rtol=0)
    assert len({tuple(state[0].tolist()) for state in states}) == 5


def _with_other_adapters() -> Router:
    """Return tiny with adapters that differ: fresh ones all change nothing."""
    router = Router.from_pretrained("tiny", cache=False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in router.vlm.named_parameters():
        if "lora_B" in name:
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return router


def test_the_library_forward_and_the_lean_one_have_equal_gradients(
    observations: list[Observation],
) -> None:
    with torch.no_grad():
        router = _with_other_adapters()
        inputs = [router.processor.inputs(observations[0].text, observations[0].series)]
        trunk = router.trunk(inputs, router.vision(observations[:1]))
        # In double precision: what float32 rounds away is up to a hundredth of a small gradient.
        router, trunk = router.double(), trunk._replace(states=trunk.states.double())
    # Not the sum of squares: of a normed state it hardly moves, and rounding would be all there is.
    direction = torch.randn(256, generator=torch.Generator().manual_seed(1))
    gradients = []
    for lean in (True, False):
        router.vlm.zero_grad()
        router.train(not lean)
        for module in router.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        router.vlm.set_adapter("trend")
        (router.states(trunk, ("trend",)) @ direction).sum().backward()
        gradients.append([p.grad.clone() for n, p in router.vlm.named_parameters() if "trend" in n])
    for own, library in zip(*gradients, strict=True):
        assert own.abs().max() > 0
        torch.testing.assert_close(own, library, rtol=1e-6, atol=1e-9 * float(own.abs().max()))


@pytest.mark.parametrize("modalities", ["TL", "VL", "V", "L"])
def test_modalities_can_be_left_out(
    router: Router, observations: list[Observation], modalities: str
) -> None:
    processor = router.processor
    one = observations[0]
    whole = processor.inputs(one.text, one.series)
    processor.modalities = modalities
    try:
        part = processor.inputs(one.text, one.series)
    finally:
        processor.modalities = "VTL"
    assert len(part.ids) < len(whole.ids)
    assert bool(part.types.any()) == ("V" in modalities) == bool(len(part.grids))
    assert (part.series is not None) == ("T" in modalities)


def test_decisions_and_vision_features_are_kept_by_content(
    observations: list[Observation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Router.from_pretrained("tiny", cache=tmp_path)
    fresh = first.decide(observations)

    def forward(*args: object) -> None:
        raise AssertionError("a kept decision needs no model")

    second = Router.from_pretrained("tiny", cache=tmp_path)
    monkeypatch.setattr(second, "forward", forward)
    kept = second.decide(observations)
    for one, other in zip(fresh, kept, strict=True):
        assert one.to_json() == other.to_json()


def test_a_truncated_cache_entry_is_computed_again(
    observations: list[Observation], tmp_path: Path
) -> None:
    router = Router.from_pretrained("tiny", cache=tmp_path)
    fresh = router.decide(observations[:1])
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        path.write_bytes(path.read_bytes()[:40])
    again = Router.from_pretrained("tiny", cache=tmp_path).decide(observations[:1])
    assert fresh[0].to_json() == again[0].to_json()


def test_a_kept_decision_names_the_asset_that_asked(tmp_path: Path) -> None:
    bars = sample_bars("sp500").iloc[:300]
    router = Router.from_pretrained("tiny", cache=tmp_path)
    router.decide([Observer(bars, "one", anonymous=True).at(250)])
    later = bars.set_axis(bars.index + pd.Timedelta(days=7))
    other = router.decide([Observer(later, "other", anonymous=True).at(250)])[0]
    assert other.symbol == "other" and other.time == later.index[250]


def test_another_lookback_is_refused_with_the_fix(router: Router) -> None:
    one = Observer(sample_bars("sp500"), "sp500", lookback=50).at(400)
    with pytest.raises(ValueError, match="plan with lookback=100"):
        router.decide([one])
