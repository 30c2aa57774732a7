"""The shipped model, four scenes, and a batch of prompts about them."""

from __future__ import annotations

import pytest

import lvlm_saliency as ls
from lvlm_saliency.scenes import generate_scenes

from .scripted import batch


@pytest.fixture(scope="module")
def scenes():
    return generate_scenes(4, 77)


@pytest.fixture(scope="module")
def loaded():
    return ls.load_model("scenes")


@pytest.fixture(scope="module")
def inputs(loaded, scenes):
    prompts = [
        "Describe the image.",
        "Please describe this image in detail.",
        "Write a caption.",
        "Describe the picture.",
    ]
    return batch(loaded[1], scenes, prompts)
