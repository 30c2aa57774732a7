"""`make demo` in small: captions are labelled by the ground truth, and every file that it names is there."""

from __future__ import annotations

import json

import pytest

from lvlm_saliency.demo import __main__ as demo
from lvlm_saliency.demo import captions
from lvlm_saliency.scenes import demo_scenes


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(captions, "MAX_NEW_TOKENS", 12)
    monkeypatch.setenv("COLUMNS", "160")


def test_writes_the_page_and_says_what_to_open(short, tmp_path, capsys):
    assert demo.main(["--out", str(tmp_path / "demo"), "--scenes", "2"]) == 0
    printed = capsys.readouterr().out
    page = tmp_path / "demo" / "report.html"
    assert f"Open {page}" in printed
    assert (tmp_path / "demo" / "map.png").exists()
    data = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
    assert len(data["cases"]) == 2
    assert [run["name"] for run in data["cases"][0]["runs"]] == ["greedy", "guard", "LocoRE", "SGRS", "SGRS + LocoRE"]
    assert [column for column in ("greedy", "LocoRE", "SGRS") if column not in printed] == []


def test_mentions_are_labelled_by_the_scene():
    scene = demo_scenes(1)[0]
    there = sorted(scene.present)[0]
    absent = next(name for name in ("dog", "car", "bed", "boat") if name not in scene.present)
    tokens = ["There", " is", " a", f" {there}", " and", " a", f" {absent}", ",", f" {there}", "."]
    found = captions.labelled(tokens, scene)
    assert [(mark.start, mark.end, mark.kind, first) for mark, first in found] == [
        (3, 4, "correct", True),
        (6, 7, "hallucinated", True),
        (8, 9, "correct", False),
    ]


def test_the_same_captions_every_time(short):
    first, second = (captions.write_captions(1, lambda _: None) for _ in range(2))
    assert [way.captions[0].text for way in first.ways] == [way.captions[0].text for way in second.ways]
