"""`lvlm-saliency study` on the command line: what it refuses, and whole runs of `separation`."""

from __future__ import annotations

import json

import pytest

from lvlm_saliency.cli import main
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.studies import open_studies
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.separation.study import Separation
from lvlm_saliency.studies.settings import StudySettings
from zoo import FAMILIES, picture


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["separation"], "--out is missing"),
        (["nope"], "no study 'nope'"),
        ([], "name at least one study"),
        (["separatoin", "--out", "x"], "no study 'separatoin'; did you mean 'separation'"),
        (["separation:bin=3", "--out", "x"], "separation has no setting 'bin'; did you mean 'bins'"),
        (["separation:bins=1", "--out", "x"], "separation: bins must be a whole number"),
        (["separation", "separation:bins=5", "--out", "x"], "separation is given twice"),
        (["separation", "--labels", "pope", "--out", "x"], "pope: no labelled words"),
        (["separation", "--labels", "missing.jsonl", "--out", "x"], "missing.jsonl: cannot be read"),
        (["decay:factors=1", "--out", "x"], "decay: factors must lie below 1"),
        (["decay:confidence=2", "--out", "x"], "decay: confidence must be a number from 0 to 1"),
        (["decay", "--labels", "some.jsonl", "--out", "x"], "decay lets the model write anew"),
    ],
)
def test_what_is_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "x" / arguments[0].split(":")[0]).exists() if arguments else True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--labels", "nope.jsonl"],
            "nope.jsonl: cannot be read (no such file); give --labels scenes-caption or chair",
        ),
        (["--labels", "empty.jsonl"], "empty.jsonl: the file is empty"),
        (["--labels", "broken.jsonl"], "broken.jsonl:1: 'image' must be text"),
        (["--labels", "good.jsonl", "--images", "nowhere"], "good.jsonl:1: no picture 'a.png' in nowhere"),
        (["--images", "nowhere"], "scenes-caption: nowhere is no folder; give one that exists with --images DIR"),
        (["--labels", "chair", "--data", "nowhere"], "chair: nowhere is no folder; give one that exists with --data"),
        (["--labels", "chair:data=nowhere"], "chair: nowhere is no folder"),
        (["--labels", "chair"], "chair: official synonym list not found; give the folder with --data DIR"),
        (
            ["--labels", "chair", "--data", "coco"],
            "chair: COCO val2014 pictures not found; give the folder with --ima",
        ),
    ],
)
@pytest.mark.parametrize("name", ["separation", "detect"])
def test_labels_and_folders_are_looked_at_before_a_model_is(name, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "broken.jsonl").write_text("{}\n")
    (tmp_path / "good.jsonl").write_text('{"image": "a.png", "prompt": "What?", "text": "A cat.", "spans": []}\n')
    (tmp_path / "coco").mkdir()
    for file in ("synonyms.txt", "coco_objects.json"):
        (tmp_path / "coco" / file).touch()
    assert main(["study", name, "--model", "./none", "--out", "x", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


def test_the_model_is_told_where_everything_else_is_there(tmp_path, capsys):
    assert main(["study", "separation", "--model", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_a_study_with_its_settings():
    (found,) = open_studies(["separation:bins=7,token=last"])
    assert found == Separation(7, "last")
    with pytest.raises(SettingError, match="no study"):
        open_studies(["nothing"])


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A file of 24 texts about 12 pictures, with words labelled by turns."""
    folder = tmp_path_factory.mktemp("mine")
    rows = []
    for number in range(24):
        picture(number // 2, (40, 40)).save(folder / f"{number // 2}.png")
        text = " A red car next to a small dog, and a bird on the bench." if number % 2 else "A boat and two cats."
        words = ("car", "dog", "bird", "bench") if number % 2 else ("boat", "cats")
        spans = [
            {"start": text.index(w), "end": text.index(w) + len(w), "hallucinated": (number // 2 + i) % 3 == 0}
            for i, w in enumerate(words)
        ]
        rows.append({"image": f"{number // 2}.png", "prompt": "Describe this image.", "text": text, "spans": spans})
    path = folder / "labelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_separation_of_a_users_file_on_the_command_line(labelled, tmp_path, capsys):
    call = ["study", "separation:bins=4", "--model", FAMILIES["llava"].folder(), "--labels", str(labelled)]
    call += ["--out", str(tmp_path), "--n", "12", "--resamples", "40", "--batch-size", "5", "--json"]
    assert main(call) == 0
    findings = json.loads(capsys.readouterr().out)["separation"]
    assert {finding["verdict"] for finding in findings} <= {"holds", "does not hold", "cannot tell"}
    folder = tmp_path / "separation"
    assert {file.name for file in folder.iterdir()} >= {"page.html", "page.md", "rates.png", "areas.svg", "words.csv"}
    words = [json.loads(line) for line in (folder / "words.jsonl").read_text().splitlines()]
    assert len(words) == 12 * 6
    assert "--labels labelled.jsonl" in (folder / "page.md").read_text()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "kept").rglob("*.npz")}
    assert len(kept) == 5
    assert main(call) == 0  # nothing is traced again, and every file is the same
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "kept").rglob("*.npz")} == kept
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_texts_of_a_file_cannot_be_written_anew(tiny, labelled, tmp_path):
    lab = Lab(StudySettings(out=tmp_path, labels=str(labelled)), model=tiny[0], processor=tiny[1])
    assert len(lab.texts()) == 24
    with pytest.raises(SettingError, match="no method can write them anew"):
        lab.texts("locore")


def test_a_model_that_names_nothing_is_told_so(tiny, tmp_path):
    settings = StudySettings(out=tmp_path, model="tiny", n=3, max_new_tokens=6)
    with pytest.raises(InputError, match="3 texts hold 0 correct and 0 hallucinated first mentions"):
        Separation().run(Lab(settings, model=tiny[0], processor=tiny[1]))
