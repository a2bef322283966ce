import numpy as np
import pytest
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from mmdrex.router.patches import patchify


@pytest.mark.parametrize("temporal", [1, 2])
def test_patches_equal_those_of_transformers_image_processor(temporal: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 224, 280, 3)).astype(np.uint8)
    theirs = Qwen2VLImageProcessorPil(temporal_patch_size=temporal)(
        list(images), return_tensors="pt"
    )
    patches, grid = patchify(images, temporal=temporal)
    torch.testing.assert_close(patches.flatten(0, 1), theirs["pixel_values"], rtol=0, atol=1e-6)
    assert torch.equal(grid, theirs["image_grid_thw"])


def test_sizes_that_cannot_be_cut_into_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="use multiples of 28"):
        patchify(np.zeros((1, 224, 281, 3), np.uint8))
