"""From labelled pictures to a guard that writes: drawn scenes, and the same as files in COCO's format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lvlm_saliency.cli import main
from lvlm_saliency.interventions.parsing import parse_methods

N = 60


def calibrated(out: Path, *arguments: str) -> dict:
    given = ["--n", str(N), "--recall-loss", "0.2", "--resamples", "100", "--out", str(out), *arguments]
    assert main(["guard", "calibrate", *given]) == 0
    return json.loads((out / "findings.json").read_text())


def captions(method: str, out: Path, *arguments: str) -> dict:
    run = ["--model", "scenes", "--n", "4", "--max-new-tokens", "60", "--resamples", "40", "--method", method]
    assert main(["evaluate", *run, "--out", str(out), *arguments]) == 0
    return json.loads((out / "scores.json").read_text())["benchmarks"]


@pytest.mark.slow
def test_coco_files_to_a_guard_that_writes(coco, tmp_path, capsys):
    """The same commands as for a large model: calibrate on `chair`, then describe with what that wrote."""
    files = ["--data", str(coco), "--images", str(coco)]
    told = calibrated(tmp_path / "guard", "--labels", "chair", *files)
    assert "of a picture's correct objects are acted on" in told["findings"][0]["text"]
    (method,) = parse_methods(str(tmp_path / "guard" / "guard.yaml"))
    assert Path(method.risk).is_file()
    assert Path(method.words).read_text() == (coco / "synonyms.txt").read_text()
    found = captions(str(tmp_path / "guard/guard.yaml"), tmp_path / "run", "--benchmark", "chair:offset=56", *files)
    assert found["chair"]["scored"] == 4
    (label,) = set(found["chair"]["answers"]) - {"greedy", "sample"}
    assert label.startswith("guard:")
    made = capsys.readouterr().err
    calibrated(tmp_path / "guard", "--labels", "chair", *files)
    assert "after" in made
    assert "after" not in capsys.readouterr().err, "nothing is written or asked twice"


@pytest.mark.slow
def test_questions_alone_need_no_training(tmp_path):
    told = calibrated(tmp_path / "guard", "--no-risk")
    assert not (tmp_path / "guard/guard.safetensors").exists()
    (method,) = parse_methods(str(tmp_path / "guard/guard.yaml"))
    assert (method.risk, method.ask) == ("off", True)
    assert 0 < method.threshold < 1
    assert "threshold" in told["findings"][0]["text"]
    found = captions(str(tmp_path / "guard/guard.yaml"), tmp_path / "run", "--benchmark", "scenes-caption")
    assert found["scenes-caption"]["scored"] == 4


@pytest.mark.slow
def test_texts_of_a_file_are_calibrated_on(coco, tmp_path):
    """Texts that were written before, with labelled spans; the pictures are not described anew."""
    from lvlm_saliency.benchmarks.prompts import DESCRIBE
    from lvlm_saliency.scenes import generate_scenes, label_mentions, write_caption

    lines = []
    for number, scene in enumerate(generate_scenes(N, 77), 1):
        text = write_caption(scene)
        spans = [
            {"start": m.start_char, "end": m.end_char, "hallucinated": not m.correct, "name": m.class_name}
            for m in label_mentions(text, scene)
        ]
        lines.append({"image": f"COCO_val2014_{number:012d}.jpg", "prompt": DESCRIBE, "text": text, "spans": spans})
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    calibrated(tmp_path / "guard", "--labels", str(file), "--images", str(coco))
    (method,) = parse_methods(str(tmp_path / "guard/guard.yaml"))
    assert "cup" in Path(method.words).read_text().split()
