"""Writing scenes to a folder: pictures, reference captions, POPE questions and the objects that are really there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.files import make_folder, read_bytes, write_bytes, write_text
from lvlm_saliency.scenes.captions import write_caption
from lvlm_saliency.scenes.draw import draw_scene
from lvlm_saliency.scenes.questions import pope_questions
from lvlm_saliency.scenes.world import Scene, SceneObject, generate_scenes

_WORLD = 1  # raised whenever the same settings begin to give other files


@dataclass(frozen=True)
class Written:
    """What `write_dataset` wrote: the folder, and how many pictures and questions are in it."""

    folder: Path
    pictures: int
    questions: int


def write_dataset(n: int, seed: int, out: str | Path, split: str = "test") -> Written:
    """Write `n` scenes of a split; the same settings always give the same bytes.

    `images/000000.png` ...: pictures, 256 x 256; `captions.jsonl`: image and reference caption (noisy: see
    `Scene.hidden`); `questions.jsonl`: POPE questions, one JSON object a line with question_id, image, text, label and
    category; `objects.json`: per image what is in the picture, with colour, boxes (left, top, right, bottom in pixels)
    and look, and what the caption names although it is not there; `settings.json`: the settings.

    A folder that already holds the same settings is written again. Raises `SettingError` for n < 1, a negative seed
    or an unknown split, and `InputError` for a path that is a file or a folder with anything else in it.
    """
    folder = Path(out)
    if n < 1:
        raise SettingError(f"a data set needs at least one scene, not {n}")
    scenes = generate_scenes(n, seed, split)
    settings = {"world": _WORLD, "n": n, "seed": seed, "split": split}
    _claim(folder, settings)

    names = [f"{scene.index:06d}.png" for scene in scenes]
    for name, scene in zip(names, scenes, strict=True):
        picture = io.BytesIO()
        draw_scene(scene).save(picture, "PNG", optimize=False)
        write_bytes(folder / "images" / name, picture.getvalue())
    _write_lines(
        folder / "captions.jsonl",
        ({"image": name, "caption": write_caption(scene)} for name, scene in zip(names, scenes, strict=True)),
    )
    questions = pope_questions(scenes, names)
    _write_lines(folder / "questions.jsonl", questions)
    objects = {name: _ground_truth(scene) for name, scene in zip(names, scenes, strict=True)}
    write_text(folder / "objects.json", json.dumps(objects, indent=1) + "\n")
    return Written(folder, len(scenes), len(questions))


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Make the folder, or refuse it: a user's files are never overwritten, and settings never mixed."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a new or empty folder")
    if folder.exists() and any(folder.iterdir()):
        marker = folder / "settings.json"
        if not marker.is_file() or read_bytes(marker) != _settings_text(settings).encode():
            raise InputError(f"{folder} is not empty and holds no data set of these settings; name a new folder")
    make_folder(folder)
    write_text(folder / "settings.json", _settings_text(settings))


def _settings_text(settings: dict[str, Any]) -> str:
    return json.dumps(settings, indent=1) + "\n"


def _ground_truth(scene: Scene) -> dict[str, Any]:
    return {
        "kind": scene.kind,
        "objects": [_object(item) for item in scene.objects],
        "named_but_absent": [item.name for item in scene.hidden],
    }


def _object(item: SceneObject) -> dict[str, Any]:
    return {"name": item.name, "colour": item.colour, "count": item.count, "look": item.look, "boxes": item.boxes}


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
