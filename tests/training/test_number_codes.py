"""What tiny's numbers start as."""

import numpy as np
import pytest
import torch
from torch import nn

from mmdrex.data.simulated import simulated_bars
from mmdrex.observation.observation import Observer
from mmdrex.router.vocabulary import NUMBERS, train_tokenizer
from mmdrex.training.charts import corpus
from mmdrex.training.number_codes import code_numbers


@pytest.fixture(scope="module")
def tokenizer():
    observer = Observer(simulated_bars(3, bars=500)[0], "market")
    return train_tokenizer(corpus([observer.at(t) for t in range(198, 400, 10)]))


@pytest.fixture(scope="module")
def embedding(tokenizer):
    embedding = nn.Embedding(len(tokenizer), 64)
    nn.init.zeros_(embedding.weight)
    code_numbers(embedding, tokenizer, seed=0)
    return embedding


def test_every_number_is_a_token(tokenizer):
    assert set(NUMBERS) <= set(tokenizer.get_vocab())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("68501", ["68", "501"]),  # grouped from the right, so that a place means one power of ten
        ("7", ["7"]),
        ("98.53", ["98", ".53"]),
        ("5.100", ["5", ".10", "0"]),
        ("2 1024", ["2", "Ġ", "1", "024"]),
    ],
)
def test_numbers_are_cut_into_groups_of_three_and_fractions_of_two(tokenizer, text, tokens):
    assert tokenizer.tokenize(text) == tokens


@pytest.mark.parametrize("numbers", [range(1000), [f".{n:02d}" for n in range(100)]])
def test_a_linear_map_reads_the_value_off_a_code(tokenizer, embedding, numbers):
    """Fitted on every other number, scored on the rest, as numpy's least squares has it."""
    vocabulary = tokenizer.get_vocab()
    codes = embedding.weight[[vocabulary[str(n)] for n in numbers]].detach().double().numpy()
    codes = np.column_stack([codes / codes.std(), np.ones(len(codes))])
    values = np.array([float(n) for n in numbers])
    weights, *_ = np.linalg.lstsq(codes[::2], values[::2], rcond=1e-6)
    left = values[1::2] - codes[1::2] @ weights
    assert 1.0 - left.var() / values.var() > 0.999


def test_other_tokens_keep_their_embedding_and_codes_have_their_size(tokenizer, embedding):
    rows = torch.tensor([tokenizer.get_vocab()[n] for n in NUMBERS])
    others = torch.ones(len(tokenizer), dtype=torch.bool)
    others[rows] = False
    assert not embedding.weight[others].any()
    assert float(embedding.weight[rows].std().detach()) == pytest.approx(0.02, rel=0.3)
