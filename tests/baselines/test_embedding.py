"""Texts to unit vectors, by hashing and by a small sentence-transformers model made here."""

import sys

import numpy as np
import pytest
from transformers import BertConfig, BertModel, BertTokenizer

from baselines.agents.embedding import embedder
from baselines.agents.memory import Notes

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "trend", "up", "rsi", "down"]
TEXTS = ["trend up", "rsi down", "trend up"]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """Return the name of an embedder: a BERT of one layer with random weights, in a folder."""
    folder = tmp_path_factory.mktemp("sentences")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(WORDS), num_hidden_layers=1, **small)).save_pretrained(
        folder
    )
    return f"sentences:{folder}"


@pytest.fixture(params=["hashing", "sentences"])
def embed(request, sentences):
    return embedder("hashing" if request.param == "hashing" else sentences)


def test_vectors_have_length_one_and_are_equal_for_equal_texts(embed):
    vectors = embed(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
    assert not np.allclose(vectors[0], vectors[1])


def test_memory_finds_the_note_that_says_the_same(embed):
    notes = Notes("asset", embed)
    for bar, text in enumerate(TEXTS[:2]):
        notes.add("kind", bar, text)
    assert [note.text for note in notes.search("kind", "rsi down", 1)] == ["rsi down"]


def test_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'mmdrex\[sentences\]'"):
        embedder("sentences:somewhere")


def test_misspelt_embedder_is_answered_with_a_near_name():
    with pytest.raises(ValueError, match="Did you mean 'hashing'"):
        embedder("hashin")
