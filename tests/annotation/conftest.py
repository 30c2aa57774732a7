"""A folder of texts about pictures, the shipped model, and a finished run."""

from __future__ import annotations

import json

import pytest

import lvlm_saliency as ls
from lvlm_saliency.scenes import draw_scene
from lvlm_saliency.scenes.world import demo_scenes

from .runs import TEXTS, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures, and texts about them."""
    path = tmp_path_factory.mktemp("texts")
    for number, scene in enumerate(demo_scenes(len(TEXTS))):
        draw_scene(scene).save(path / f"{number}.png")
    rows = [
        {"id": f"t{number}", "image": f"{number}.png", "prompt": "Describe the image.", "answer": text}
        for number, text in enumerate(TEXTS)
    ]
    (path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def loaded():
    return ls.load_model("scenes", device="cpu")


@pytest.fixture(scope="module")
def whole(folder, loaded, tmp_path_factory):
    """A finished run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    return run(folder, out, loaded), out
