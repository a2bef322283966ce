"""Backend ``hf``: a chat model that transformers runs in this process, with images where it can."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    BatchFeature,
)

from mmdrex.errors import LLMError
from mmdrex.llm.backends import RefusedError, known_until
from mmdrex.llm.request import Message, Reply, Request

log = logging.getLogger(__name__)

HUB = ("revision", "token", "cache_dir", "local_files_only")


class LocalModel:
    """A model from a folder or the Hugging Face hub; the likeliest token at each step.

    Parameters
    ----------
    name : str
        Folder or hub id of a chat model, with or without a vision tower.
    cutoff : date, optional
        The model's knowledge cut-off, from its card.
    max_tokens : int
        Of a reply.
    **kwargs
        Passed through to transformers: ``revision``, ``token``, ``cache_dir``, ``dtype``,
        ``local_files_only``, ``attn_implementation``, ``device_map``, ``quantization_config``.
    """

    priced = False

    def __init__(
        self,
        name: str,
        cutoff: str | pd.Timestamp | None = None,
        max_tokens: int = 1_000,
        **kwargs: Any,
    ) -> None:
        hub = {key: value for key, value in kwargs.items() if key in HUB}
        kwargs.setdefault("dtype", "auto")
        try:
            config = AutoConfig.from_pretrained(name, **hub)
            sees = hasattr(config, "vision_config")
            loader = AutoModelForImageTextToText if sees else AutoModelForCausalLM
            self._model: Any = loader.from_pretrained(name, use_safetensors=True, **kwargs).eval()
            self._processor = _processor(name, config, hub)
        except (OSError, ValueError) as error:
            raise LLMError(f"hf:{name} can't be loaded: {str(error).splitlines()[0]}") from error
        self._sees = hasattr(self._processor, "image_processor")
        self._max_tokens = max_tokens
        self._context = int(getattr(config.get_text_config(), "max_position_embeddings", 1 << 20))
        self.model = f"hf:{name}"
        self.cutoff = known_until(cutoff)
        settings = {key: str(value) for key, value in kwargs.items() if key != "token"}
        self.identity = json.dumps([self.model, max_tokens, self._sees, settings], sort_keys=True)

    @torch.inference_mode()
    def reply(self, request: Request) -> Reply:
        """Return the model's reply."""
        chat = self._processor.apply_chat_template(
            [self._turn(message) for message in request.messages],
            add_generation_prompt=True,
            tokenize=False,
        )
        images = [Image.fromarray(one) for m in request.messages for one in m.images]
        given = {"images": images} if images and self._sees else {}
        inputs = self._processor(text=[chat], return_tensors="pt", **given).to(self._model.device)
        asked = int(inputs["input_ids"].shape[1])
        room = self._context - asked
        if room < 1:
            raise RefusedError(f"the prompt has {asked} tokens; {self.model} reads {self._context}")
        out = self._model.generate(
            **inputs, max_new_tokens=min(self._max_tokens, room), do_sample=False
        )[0, asked:]
        tokenizer = getattr(self._processor, "tokenizer", self._processor)
        return Reply(tokenizer.decode(out, skip_special_tokens=True), asked, len(out))

    def _turn(self, message: Message) -> dict[str, Any]:
        if not self._sees:
            note = "(Charts left out.)\n" if message.images else ""
            return {"role": message.role, "content": note + message.text}
        parts = [{"type": "image"} for _ in message.images]
        return {"role": message.role, "content": [*parts, {"type": "text", "text": message.text}]}


class _WithoutVideo:
    """The processor of a Qwen-VL model without its part for videos, which needs torchvision."""

    def __init__(self, name: str, config: Any, hub: dict[str, Any]) -> None:
        self.image_processor: Any = AutoImageProcessor.from_pretrained(name, backend="pil", **hub)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(name, **hub)
        self.apply_chat_template = self.tokenizer.apply_chat_template
        self._token: int = config.image_token_id
        self._mark = str(self.tokenizer.convert_ids_to_tokens(self._token))
        self._merged: int = config.vision_config.spatial_merge_size**2

    def __call__(
        self, text: list[str], images: Sequence[Image.Image] = (), return_tensors: str = "pt"
    ) -> BatchFeature:
        """Return what the model takes: each mark of an image becomes one per merged patch."""
        [chat] = text
        seen = {}
        if images:
            seen = dict(self.image_processor(images=list(images), return_tensors=return_tensors))
            counts = (seen["image_grid_thw"].prod(dim=1) // self._merged).tolist()
            first, *rest = chat.split(self._mark)
            marked = zip(counts, rest, strict=True)
            chat = first + "".join(self._mark * count + part for count, part in marked)
        inputs = self.tokenizer([chat], return_tensors=return_tensors)
        kinds = (inputs["input_ids"] == self._token).long()
        return BatchFeature({**inputs, **seen, "mm_token_type_ids": kinds})


def _processor(name: str, config: Any, hub: dict[str, Any]) -> Any:
    """Return the processor; a vision model stored without one is used as a text model."""
    sees = hasattr(config, "vision_config")
    # Without an image processor in the folder AutoProcessor gives the tokenizer alone.
    try:
        found: Any = (AutoProcessor if sees else AutoTokenizer).from_pretrained(name, **hub)
    except ImportError as error:
        if not hasattr(config.vision_config, "spatial_merge_size"):
            raise LLMError(
                f"hf:{name} needs a package to read charts, torchvision as a rule: "
                f"{' '.join(str(error).split())[:120]}"
            ) from None
        found = _WithoutVideo(name, config, hub)
    if sees and not hasattr(found, "image_processor"):
        log.warning("%s has no image processor: charts are left out", name)
    return found
