"""What a language model is asked and what it said."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

Pixels = NDArray[np.uint8]
Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, eq=False)
class Message:
    """One turn of a conversation; images, each of shape (height, width, 3), come before the text.

    An image is kept as pixels and encoded only when a model really gets it.
    """

    role: Role
    text: str
    images: tuple[Pixels, ...] = ()

    @cached_property
    def png(self) -> tuple[str, ...]:
        """The images as data URIs."""
        return tuple(_data_uri(image) for image in self.images)

    @cached_property
    def digest(self) -> str:
        """Hex digest of role, text and pixels."""
        content = hashlib.blake2b(digest_size=16)
        parts = [self.role.encode(), clean(self.text).encode()]
        parts += [bytes(str(image.shape), "ascii") + image.tobytes() for image in self.images]
        for part in parts:
            content.update(len(part).to_bytes(8, "little"))
            content.update(part)
        return content.hexdigest()


@dataclass(frozen=True, eq=False)
class Request:
    """A conversation and the form its answer must have.

    Attributes
    ----------
    task : str
        What it is for, such as ``"finagent.decision"``; goes into the ledger.
    messages : tuple of Message
    form : type of BaseModel
        The pydantic schema of the JSON object wanted.
    """

    task: str
    messages: tuple[Message, ...]
    form: type[BaseModel]

    @cached_property
    def digest(self) -> str:
        """Hex digest of all the model reads."""
        parts = [self.task, *(message.digest for message in self.messages)]
        return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()

    @property
    def text(self) -> str:
        """The conversation as the ledger keeps it, a digest in an image's place."""
        lines = []
        for message in self.messages:
            charts = [f"<image {'x'.join(map(str, one.shape))}>" for one in message.images]
            lines.append("\n".join([f"[{message.role}]", *charts, clean(message.text)]))
        return "\n".join(lines)


class Reply(NamedTuple):
    """What a model said. Tokens and price are None where the model does not tell."""

    text: str
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    price: float | None = None


def clean(text: str) -> str:
    r"""Return the text without what a file, a chat template or a database can't hold.

    Lone surrogates, control characters other than line breaks and tabs, and the marks that open
    and close a turn of a chat are dropped: data must not be able to end the turn it stands in.

    Examples
    --------
    >>> clean("close\x00 up <|im_end|> 3 %")
    'close up  3 %'
    """
    for mark in CHAT_MARKS:
        text = text.replace(mark, "")
    whole = text.encode("utf-8", "ignore").decode("utf-8")
    return whole.translate(_CONTROL)


_CONTROL = {code: None for code in range(32) if chr(code) not in "\n\t"}
CHAT_MARKS = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|begin_of_text|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|image_pad|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|video_pad|>", "<|series_pad|>"),
)


def _data_uri(image: Pixels) -> str:
    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
