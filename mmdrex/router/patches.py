"""Images to the flat patches that Qwen2.5-VL's vision tower reads, a whole batch at a time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

# The means and deviations of Qwen2.5-VL's image processor (those of CLIP).
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def patchify(
    images: NDArray[np.uint8], patch: int = 14, merge: int = 2, temporal: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the patches of equally large images, in the order the vision tower wants.

    The same numbers as transformers' ``Qwen2VLImageProcessor`` without resizing (tested), but for a
    batch at once.

    Parameters
    ----------
    images : ndarray of shape (N, height, width, 3)
        Height and width are multiples of ``patch * merge``.
    patch, merge, temporal : int
        Pixels of a patch, patches of a token per axis, times a still image is repeated.

    Returns
    -------
    patches : float32 tensor of shape (N, patches, 3 * temporal * patch ** 2)
    grid : int64 tensor of shape (N, 3)
        Patches per image in time, height and width.
    """
    count, height, width, _ = images.shape
    unit = patch * merge
    if height % unit or width % unit:
        raise ValueError(
            f"a chart of {width} x {height} pixels cannot be cut into tokens of {unit} pixels; "
            f"use multiples of {unit}"
        )
    rows, columns = height // unit, width // unit
    blocks = images.reshape(count, rows, merge, patch, columns, merge, patch, 3)
    blocks = blocks.transpose(0, 1, 4, 2, 5, 7, 3, 6)  # image, row, column, merge, merge, channel
    blocks = blocks.reshape(count, rows * columns * merge**2, 3, 1, patch * patch)
    mean, deviation = (
        np.array(values, np.float32)[:, None, None] * 255 for values in (MEAN, DEVIATION)
    )
    pixels = (blocks - mean) / deviation
    patches = np.repeat(pixels, temporal, axis=3).reshape(count, rows * columns * merge**2, -1)
    grid = torch.tensor([[1, rows * merge, columns * merge]] * count)
    return torch.from_numpy(patches), grid
