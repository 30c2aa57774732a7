"""The dataset writer: the same bytes from the same settings, and nothing of the user's is overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.scenes.dataset import write_dataset
from lvlm_saliency.scenes.world import generate_scenes


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_written(tmp_path: Path) -> None:
    written = write_dataset(3, 7, tmp_path / "data")
    assert (written.pictures, written.questions) == (3, 54)
    scenes = generate_scenes(3, 7, "test")
    objects = json.loads((tmp_path / "data/objects.json").read_text())
    captions = [json.loads(line) for line in (tmp_path / "data/captions.jsonl").read_text().splitlines()]
    questions = [json.loads(line) for line in (tmp_path / "data/questions.jsonl").read_text().splitlines()]
    assert list(objects) == [row["image"] for row in captions] == ["000000.png", "000001.png", "000002.png"]
    for scene, truth in zip(scenes, objects.values(), strict=True):
        assert {item["name"] for item in truth["objects"]} == scene.present
    assert set(questions[0]) == {"question_id", "image", "text", "label", "category"}
    for name in objects:
        with Image.open(tmp_path / "data/images" / name) as picture:
            assert picture.size == (256, 256)


def test_same_settings_same_bytes_and_writing_again_is_allowed(tmp_path: Path) -> None:
    write_dataset(2, 1, tmp_path / "a")
    write_dataset(2, 1, tmp_path / "b")
    first = _contents(tmp_path / "a")
    assert first == _contents(tmp_path / "b")
    write_dataset(2, 1, tmp_path / "a")
    assert _contents(tmp_path / "a") == first


@pytest.mark.parametrize("settings", [{"n": 3, "seed": 1}, {"n": 2, "seed": 2}, {"n": 2, "seed": 1, "split": "dev"}])
def test_a_folder_of_other_settings_is_refused(tmp_path: Path, settings: dict) -> None:
    write_dataset(2, 1, tmp_path)
    before = _contents(tmp_path)
    with pytest.raises(InputError, match="name a new folder"):
        write_dataset(out=tmp_path, **settings)
    assert _contents(tmp_path) == before


def test_a_folder_of_the_users_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        write_dataset(2, 1, tmp_path)
    with pytest.raises(InputError, match="is a file"):
        write_dataset(2, 1, tmp_path / "holiday.txt")


def test_no_scenes_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="at least one"):
        write_dataset(0, 1, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_world_needs_no_torch() -> None:
    code = "import sys, lvlm_saliency.scenes.dataset; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("out", ["file/below", "set"])
def test_a_place_where_nothing_can_be_written_is_one_line(tmp_path, out):
    (tmp_path / "file").write_text("x")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "settings.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"cannot make|not empty and holds no data set"):
        write_dataset(1, 0, tmp_path / out)
