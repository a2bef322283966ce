"""Texts to unit vectors, for memories that are searched by meaning."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from strategies.rule import did_you_mean

Vectors = NDArray[np.float32]

DIMENSION = 512


class Embedder(Protocol):
    """What a memory needs of an embedder."""

    def __call__(self, texts: list[str]) -> Vectors:
        """Return one unit vector per text, shape (texts, dimension)."""


class Hashing:
    """Words and pairs of words hashed into ``DIMENSION`` places: needs no model and no network."""

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        self._vectorizer = HashingVectorizer(
            n_features=DIMENSION, ngram_range=(1, 2), alternate_sign=False, norm="l2"
        )

        self._vector = lru_cache(4096)(self._hashed)  # a resumed run meets the same texts

    def __call__(self, texts: list[str]) -> Vectors:
        """Return one unit vector per text; a text without words is the zero vector."""
        return np.stack([self._vector(text) for text in texts])

    def _hashed(self, text: str) -> Vectors:
        vector: Vectors = self._vectorizer.transform([text]).toarray()[0].astype(np.float32)
        return vector


class Sentences:
    """A sentence-transformers model, from a folder or the hub.

    Parameters
    ----------
    name : str
        Such as ``sentence-transformers/all-MiniLM-L6-v2``.
    """

    def __init__(self, name: str) -> None:
        try:
            module: Any = import_module("sentence_transformers")
        except ModuleNotFoundError:
            raise ValueError(
                "the embedder 'sentences' needs a package: pip install 'mmdrex[sentences]'"
            ) from None
        self._model = module.SentenceTransformer(name)

    def __call__(self, texts: list[str]) -> Vectors:
        """Return one unit vector per text."""
        vectors = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


EMBEDDERS = {"hashing": Hashing, "sentences": Sentences}


@cache
def embedder(name: str) -> Embedder:
    """Return the embedder ``"hashing"`` or ``"sentences:<folder or hub id>"``."""
    kind, _, argument = name.partition(":")
    if kind not in EMBEDDERS:
        raise ValueError(f"no embedder {name!r}.{did_you_mean(kind, EMBEDDERS)}")
    if kind == "sentences" and not argument:
        raise ValueError("'sentences' names no model; write sentences:<folder or hub id>")
    made: Embedder = Sentences(argument) if argument else Hashing()
    return made
