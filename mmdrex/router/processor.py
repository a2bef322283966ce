"""Observations to the tensors that the backbone reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from mmdrex.observation.observation import Observation
from mmdrex.router.patches import patchify
from mmdrex.router.vocabulary import SERIES_TOKEN

ANSWER = '{"trend":"'  # every prompt ends here: the state is its last token's, the label comes next
IMAGE_TOKEN = "<|image_pad|>"


class Inputs(NamedTuple):
    """One observation, ready for the backbone; images are read separately and cached."""

    ids: torch.Tensor  # (L,) int64
    types: torch.Tensor  # (L,) int32: 1 at image tokens, else 0
    grids: torch.Tensor  # (images, 3) int64
    series: torch.Tensor | None  # (lookback, features) float32


class MMDREXProcessor(ProcessorMixin):
    """Charts, series and prompt of an observation, as token ids and arrays.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        The backbone's; a token for the series is added when it has none. That id lies inside the
        embedding matrix of every Qwen2.5-VL, which is larger than its vocabulary.
    global_size, local_size : (width, height)
        Pixels of the two views.
    patch_size, merge_size, temporal_patch_size : int
        Of the backbone's vision tower.
    series_patch : int
        Bars per soft token.
    modalities : str
        Which of V, T and L are given, such as ``"VTL"`` or ``"TL"``.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        global_size: Sequence[int] = (280, 224),
        local_size: Sequence[int] = (168, 224),
        patch_size: int = 14,
        merge_size: int = 2,
        temporal_patch_size: int = 2,
        series_patch: int = 10,
        modalities: str = "VTL",
        chat_template: str | None = None,
    ) -> None:
        if SERIES_TOKEN not in tokenizer.get_vocab():
            tokenizer.add_special_tokens({"extra_special_tokens": [SERIES_TOKEN]})
        self.global_size = (global_size[0], global_size[1])
        self.local_size = (local_size[0], local_size[1])
        self.patch_size, self.merge_size = patch_size, merge_size
        self.temporal_patch_size = temporal_patch_size
        self.series_patch = series_patch
        self.modalities = modalities
        super().__init__(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
            tokenizer, chat_template=chat_template or tokenizer.chat_template
        )
        ids = tokenizer.get_vocab()
        self.image_token_id = ids[IMAGE_TOKEN]
        self.series_token_id = ids[SERIES_TOKEN]

    def seeing(self, modalities: str) -> MMDREXProcessor:
        """Return this processor for some of the modalities."""
        return MMDREXProcessor(
            self.tokenizer,
            self.global_size,
            self.local_size,
            self.patch_size,
            self.merge_size,
            self.temporal_patch_size,
            self.series_patch,
            modalities,
        )

    def image_tokens(self) -> tuple[int, int]:
        """Return the tokens of the global and of the local view."""
        unit = self.patch_size * self.merge_size
        wide, near = (
            (size[0] // unit) * (size[1] // unit) for size in (self.global_size, self.local_size)
        )
        return wide, near

    def chat(self, text: str, bars: int) -> str:
        """Return the whole prompt up to ``ANSWER``, placeholders of images and series included."""
        content: list[dict[str, str]] = []
        if "V" in self.modalities:
            content += [{"type": "image"}, {"type": "image"}]
        series = SERIES_TOKEN * (bars // self.series_patch) if "T" in self.modalities else ""
        content.append({"type": "text", "text": series + (text if "L" in self.modalities else "")})
        chat: str = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=self.chat_template,
            tokenize=False,
            add_generation_prompt=True,
        )
        return chat + ANSWER

    def inputs(self, text: str, series: NDArray[np.float32]) -> Inputs:
        """Return the tensors of one prompt and its series, an array of shape (lookback, 17)."""
        pieces = self.chat(text, len(series)).split(IMAGE_TOKEN)
        counts = self.image_tokens()
        chat = pieces[0]
        for count, piece in zip(counts, pieces[1:], strict="V" in self.modalities):
            chat += IMAGE_TOKEN * count + piece
        ids = torch.tensor(self.tokenizer(chat, add_special_tokens=False)["input_ids"])
        sizes = (self.global_size, self.local_size) if "V" in self.modalities else ()
        grids = [[1, h // self.patch_size, w // self.patch_size] for w, h in sizes]
        return Inputs(
            ids=ids,
            types=(ids == self.image_token_id).int(),
            grids=torch.tensor(grids, dtype=torch.int64).reshape(-1, 3),
            series=torch.from_numpy(series) if "T" in self.modalities else None,
        )

    def charts(self, observation: Observation) -> list[NDArray[np.uint8]]:
        """Return the two charts of an observation, each of shape (height, width, 3)."""
        return [
            observation.chart("global", self.global_size),
            observation.chart("local", self.local_size),
        ]

    def patches(self, images: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return patches (N, P, d) and grids (N, 3) of images (N, height, width, 3)."""
        return patchify(images, self.patch_size, self.merge_size, self.temporal_patch_size)

    def __call__(self, observations: Sequence[Observation], **kwargs: Any) -> list[Inputs]:
        """Return the inputs of each observation."""
        return [self.inputs(one.text, one.series) for one in observations]
