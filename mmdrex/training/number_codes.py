"""What tiny's numbers start as: a code of their value.

An embedding that starts at random has to be met hundreds of times before it says how large its
number is; one that starts as smooth functions of the value says so to any linear map.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from mmdrex.router.vocabulary import NUMBERS

PERIODS = (10, 30, 100, 300, 1000, 3000)  # of the waves, in units of a number up to 999
KINDS = ((False, 1), (False, 2), (False, 3), (True, 1), (True, 2))  # a fraction?, digits


def _features(number: str) -> list[float]:
    """Return waves, size and length of a number; a fraction counts in hundredths."""
    fraction = number.startswith(".")
    value = 100.0 * float(number) if fraction else float(number)
    waves = [
        wave(2.0 * math.pi * value / period) for period in PERIODS for wave in (math.sin, math.cos)
    ]
    kind = (fraction, len(number.lstrip(".")))
    kinds = [float(kind == one) for one in KINDS]
    return [*waves, value / 300.0, math.log1p(value) / 3.0, *kinds]


@torch.no_grad()
def code_numbers(
    embedding: nn.Embedding, tokenizer: PreTrainedTokenizerBase, seed: int, deviation: float = 0.02
) -> None:
    """Write a code of their value into the rows of a tokenizer's numbers, in place.

    Parameters
    ----------
    embedding : Embedding
    tokenizer : PreTrainedTokenizerBase
        Of ``mmdrex.router.vocabulary.train_tokenizer``.
    seed : int
        Of the random map from features to the embedding's width.
    deviation : float
        Of the codes: that of all other embeddings.
    """
    vocabulary = tokenizer.get_vocab()
    features = torch.tensor([_features(number) for number in NUMBERS])
    features = (features - features.mean(dim=0)) / (features.std(dim=0) + 1e-6)
    mixed = torch.randn(
        features.shape[1], embedding.embedding_dim, generator=torch.Generator().manual_seed(seed)
    )
    rows = torch.tensor([vocabulary[number] for number in NUMBERS])
    embedding.weight[rows] = deviation * features @ mixed / math.sqrt(features.shape[1])
