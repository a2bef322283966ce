"""Names and ids of the tokens that ``tiny`` and the router agree on."""

from __future__ import annotations

VOCABULARY = 2048
# Qwen2.5-VL's own special tokens first, so that its chat template works unchanged.
SPECIAL = {
    token: i
    for i, token in enumerate(
        (
            "<|endoftext|>",
            "<|im_start|>",
            "<|im_end|>",
            "<|vision_start|>",
            "<|vision_end|>",
            "<|image_pad|>",
            "<|video_pad|>",
            "<|series_pad|>",
        )
    )
}
