"""A tiny model on disk, and the scenes model, for studies of a few pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo import FAMILIES


@pytest.fixture(scope="session")
def tiny():
    """(model, processor) of a tiny LLaVA, shared: leave them as they are."""
    return FAMILIES["llava"].build()


@pytest.fixture(scope="session")
def scenes():
    """(model, processor) of the shipped model, shared."""
    from lvlm_saliency.model.load import load_model

    return load_model("scenes", device="cpu")


@pytest.fixture(scope="session")
def coco(tmp_path_factory) -> Path:
    """Scenes as `COCO_val2014_*.jpg`, their objects, and a list of synonyms, as CHAIR's files are."""
    from lvlm_saliency.scenes import draw_scene, generate_scenes
    from lvlm_saliency.scenes.classes import PLURALS

    folder = tmp_path_factory.mktemp("coco")
    scenes = generate_scenes(60, 77)
    for number, scene in enumerate(scenes, 1):
        draw_scene(scene).save(folder / f"COCO_val2014_{number:012d}.jpg", quality=95)
    objects = {str(number): sorted(scene.present) for number, scene in enumerate(scenes, 1)}
    (folder / "coco_objects.json").write_text(json.dumps(objects))
    (folder / "synonyms.txt").write_text("".join(f"{one}, {many}\n" for one, many in PLURALS.items()))
    return folder
