"""Backend ``tiny``: a small local model that picks among the allowed answers by likelihood.

It knows nothing about markets, reads no chart and says so in every reply. It stands in where no
language model is at hand: the whole machinery of an agent runs, and what comes out is noise that
depends on the prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch
from pydantic import BaseModel
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.utils import logging

from mmdrex.errors import LLMError
from mmdrex.llm.backends import NOTHING_KNOWN
from mmdrex.llm.request import Reply, Request

SAYS_SO = "No reason: the embedded model knows nothing and picked the likeliest of the words."


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide transformers' progress bar: the embedded model is loaded before it can be read."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class Likelihood:
    """A causal model read by likelihood: every choice is weighed, everything else left open.

    Parameters
    ----------
    folder : path
        A model that transformers can load, such as the backbone of the embedded router.
    tokens : int
        How much of the end of a prompt is read: the cost of a call grows with it.
    """

    priced = False
    cutoff = NOTHING_KNOWN

    def __init__(self, folder: str | Path, tokens: int = 128) -> None:
        path = Path(folder)
        if not (path / "config.json").is_file():
            raise LLMError(f"no model in {folder}: it has no config.json")
        self.model = f"tiny:{path.name}"
        self.tokens = tokens
        self._tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
        with _quiet():
            self._model = AutoModelForImageTextToText.from_pretrained(
                str(path), dtype=torch.float32, local_files_only=True, use_safetensors=True
            ).eval()
        weights = hashlib.blake2b(digest_size=16)
        for file in sorted(path.glob("*.safetensors")):
            weights.update(file.read_bytes())
        self.identity = f"tiny {tokens} {weights.hexdigest()}"

    @torch.inference_mode()
    def reply(self, request: Request) -> Reply:
        """Return a JSON object that fits the form, its choices weighed one after the other."""
        text = "\n".join(message.text for message in request.messages)
        ids = self._ids(text)[-self.tokens :]
        answer = json.dumps(self._object(request.form, ids))
        return Reply(answer, len(ids), len(self._ids(answer)))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _object(self, form: type[BaseModel], prompt: list[int]) -> dict[str, Any]:
        return {
            name: self._value(name, field.annotation, prompt)
            for name, field in form.model_fields.items()
        }

    def _value(self, name: str, kind: Any, prompt: list[int]) -> Any:
        if get_origin(kind) is Literal:
            return self._likeliest(name, get_args(kind), prompt)
        if get_origin(kind) is list:
            return []
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return self._object(kind, prompt)
        return SAYS_SO if kind is str else kind()

    def _likeliest(self, name: str, choices: tuple[str, ...], prompt: list[int]) -> str:
        """Return the choice with the highest mean log-likelihood per token after the prompt."""
        start = prompt + self._ids(f'\n"{name}": ')
        endings = [self._ids(json.dumps(choice)) for choice in choices]
        longest = max(map(len, endings))
        # Padded on the right: a causal model's earlier positions do not see it.
        rows = [start + ending + [0] * (longest - len(ending)) for ending in endings]
        logits = self._model(input_ids=torch.tensor(rows), logits_to_keep=longest + 1).logits
        chances = torch.log_softmax(logits.double(), dim=-1)
        scores = [
            sum(float(chances[row, place, token]) for place, token in enumerate(ending))
            / len(ending)
            for row, ending in enumerate(endings)
        ]
        return choices[scores.index(max(scores))]
