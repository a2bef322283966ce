"""Backend ``hf`` on a small vision model in a folder, as a Qwen2.5-VL is stored."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmdrex.errors import LLMError
from mmdrex.llm import local_model
from mmdrex.llm.local_model import LocalModel
from mmdrex.router.backbone import BACKBONES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the embedded checkpoint with the image processor and names of a Qwen2.5-VL."""
    copied = tmp_path_factory.mktemp("model") / "small"
    shutil.copytree(BACKBONES["tiny"].path, copied)
    processor = {
        "processor_class": "Qwen2_5_VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 1,
        "min_pixels": 28 * 28,
        "max_pixels": 112 * 112,
    }
    (copied / "preprocessor_config.json").write_text(json.dumps(processor))
    return copied


@pytest.fixture(scope="module")
def backend(folder):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield LocalModel(str(folder), max_tokens=6, dtype=torch.float32, local_files_only=True)
    torch.set_num_threads(threads)


def image(height, width, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_image_costs_a_token_per_block_of_28_pixels(backend, request_of):
    bare = backend.reply(request_of()).prompt_tokens
    for height, width in ((28, 28), (56, 84), (84, 56)):
        reply = backend.reply(request_of(images=(image(height, width, 0),)))
        # One mark around it on each side, as the chat template writes them.
        assert reply.prompt_tokens - bare == height * width // 28**2 + 2


def test_pixels_reach_the_model(backend, request_of, monkeypatch):
    given = []
    generate = backend._model.generate
    monkeypatch.setattr(backend._model, "generate", lambda **kw: given.append(kw) or generate(**kw))
    pictures = (image(56, 56, 1), image(28, 84, 2))
    backend.reply(request_of(images=pictures))
    [inputs] = given
    assert inputs["image_grid_thw"].tolist() == [[1, 4, 4], [1, 2, 6]]
    # The first patch of the first image, standardised by CLIP's published mean and deviation;
    # its place in the row is channel, then rows and columns of the patch.
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    deviation = np.array([0.26862954, 0.26130258, 0.27577711])
    patch = (pictures[0][:14, :14] / 255.0 - mean) / deviation
    wanted = patch.transpose(2, 0, 1).reshape(-1)
    np.testing.assert_allclose(inputs["pixel_values"][0].numpy(), wanted, atol=1e-5)


def test_answer_depends_on_the_picture(backend, request_of):
    def chances(picture):
        request = request_of(images=(picture,))
        chat = backend._processor.apply_chat_template(
            [backend._turn(message) for message in request.messages], tokenize=False
        )
        inputs = backend._processor(text=[chat], images=[picture], return_tensors="pt")
        with torch.inference_mode():
            return backend._model(**inputs).logits[0, -1]

    one, same, other = (chances(image(56, 56, seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.allclose(one, other)


def test_missing_package_of_another_family_is_named(monkeypatch):
    def missing(*_, **__):
        raise ImportError("It requires the Torchvision library")

    monkeypatch.setattr(local_model.AutoProcessor, "from_pretrained", missing)
    config = SimpleNamespace(vision_config=SimpleNamespace())
    with pytest.raises(LLMError, match="needs a package to read charts, torchvision"):
        local_model._processor("another", config, {})
