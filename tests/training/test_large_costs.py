"""The FLOPs and sizes behind ``benchmarks/large.py``, against torch's own count."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmdrex.router.adapted import last_states
from mmdrex.router.backbone import add_adapters, fresh_lora

PATH = Path(__file__).parents[2] / "benchmarks" / "large_costs.py"
TOKENS = 300


@pytest.fixture(scope="module")
def costs():
    spec = importlib.util.spec_from_file_location("large_costs", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_backbones_have_the_parameters_their_makers_publish(costs):
    # Model cards of Qwen/Qwen2.5-VL-{3B,7B,72B}-Instruct: "3.75B", "8.29B" and "73.4B params".
    for size, published in (("3B", 3.75e9), ("7B", 8.29e9), ("72B", 73.4e9)):
        own, adapters = costs.parameters(size)
        assert own == pytest.approx(published, rel=2e-3)
        assert adapters < 0.02 * own


def attention(config):
    """Return the half of causal attention that the kernels compute and nobody needs."""
    text = config.text_config
    return 2.0 * text.hidden_size * TOKENS**2 * text.num_hidden_layers


@pytest.fixture(scope="module")
def model(costs):
    """Return 3B's language model of two layers, on no device, with one adapter."""
    config = costs.shape("3B", layers=2, blocks=1)
    config._attn_implementation = "eager"
    return add_adapters(costs.bare(config, "meta"), ("router",), fresh_lora(2, None)).to("meta")


def forward(model):
    text = model.get_base_model().model.language_model
    embeds = torch.zeros(1, TOKENS, 2048, dtype=torch.bfloat16, device="meta", requires_grad=True)
    positions = torch.zeros(3, 1, TOKENS, dtype=torch.int64, device="meta")
    mask = {"full_attention": None}
    told = text(inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False)
    return told.last_hidden_state


def test_flops_of_the_layers_are_those_torch_counts(costs, model):
    config = model.config
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward(model)
    expected = counter.get_total_flops() - attention(config)
    assert costs.work(config, TOKENS).layers == pytest.approx(expected, rel=1e-6)


def test_flops_of_a_training_step_are_those_torch_counts(costs, model):
    config = model.config
    with FlopCounterMode(display=False) as counter:
        forward(model).sum().backward()
    expected = counter.get_total_flops() - 3 * attention(config)
    assert costs.sft_flops(config, TOKENS, 0) == pytest.approx(expected, rel=1e-6)


def test_flops_of_reading_under_two_adapters_are_those_torch_counts(costs):
    config = costs.shape("3B", layers=3, blocks=1)
    names = ("router", "trend")
    model = add_adapters(costs.bare(config, "meta"), names, fresh_lora(3, None)).to("meta")
    text = model.get_base_model().model.language_model
    states = torch.zeros(1, TOKENS, 2048, dtype=torch.bfloat16, device="meta")
    rotation = [torch.zeros(1, TOKENS, 128, dtype=torch.bfloat16, device="meta") for _ in "cs"]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        last_states(text.layers, text.norm, states, rotation, names)
    # Torch counts the whole square of attention in the two layers that attend from every token.
    expected = counter.get_total_flops() - 2 * attention(config) * 2 / 3
    # Tolerance: of the last layer the one token is left out, of a prompt of 300.
    assert costs.rl_forward(config, TOKENS, 2) == pytest.approx(expected, rel=5e-3)
