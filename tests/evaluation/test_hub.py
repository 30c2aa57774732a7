"""Data from the hub, with a stand-in for `datasets`: nothing is downloaded."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from PIL import Image

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import InputError

SHORT = "\nAnswer the question using a single word or phrase."


class FakeTable:
    """As much of a `datasets` table as the adapter uses."""

    def __init__(self, rows, without=()):
        self.held = rows
        self.column_names = [name for name in rows[0] if name not in without]

    def remove_columns(self, name):
        return [{key: value for key, value in row.items() if key != name} for row in self.held]

    def __getitem__(self, place):
        return self.held[place]


def with_datasets(monkeypatch, load):
    module = ModuleType("datasets")
    module.load_dataset = load
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_pope_from_the_hub(monkeypatch):
    shared = {"image": Image.new("RGB", (9, 9), "red"), "image_source": "COCO_1", "question": "Is there a dog?"}
    rows = [
        {**shared, "answer": "yes", "category": kind, "id": i}
        for i, kind in enumerate(("random", "popular", "adversarial"))
    ]
    asked = []
    with_datasets(monkeypatch, lambda name, split: asked.append((name, split)) or FakeTable(rows))
    benchmark = open_benchmark("pope:data=hub")
    assert [item.prompt for item in benchmark.items] == ["Is there a dog?" + SHORT] * 3
    assert benchmark.picture(benchmark.items[0]).getpixel((0, 0)) == (255, 0, 0)
    assert len(benchmark.picture_digest(benchmark.items[0])) == 64
    assert asked == [("lmms-lab/POPE", "test")]
    assert open_benchmark("pope:data=hub:me/mine").items
    assert asked[1] == ("me/mine", "test")


def test_mme_from_the_hub(monkeypatch):
    picture = Image.new("RGB", (9, 9))
    rows = [
        {"image": picture, "question_id": f"count/{i}.png", "question": f"{q}?", "answer": q, "category": "count"}
        for i in (2, 1)
        for q in ("Yes", "No")
    ]
    with_datasets(monkeypatch, lambda name, split: FakeTable(rows))
    benchmark = open_benchmark("mme:data=hub,tasks=count")
    assert [item.image for item in benchmark.items] == ["count/1.png"] * 2 + ["count/2.png"] * 2
    assert benchmark.score(dict(enumerate(["Yes", "No"] * 2)))["answers"]["tasks"]["count"]["score"] == 200


def test_hub_failures_are_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'lvlm-saliency\[hub\]'"):
        open_benchmark("pope:data=hub").check()

    def unreachable(name, split):
        raise ConnectionError("no route\nto host")

    with_datasets(monkeypatch, unreachable)
    with pytest.raises(InputError, match=r"lmms-lab/POPE from the hub \(no route\)"):
        open_benchmark("pope:data=hub").check()
    with_datasets(monkeypatch, lambda name, split: FakeTable([{"image": None, "question": ""}]))
    with pytest.raises(InputError, match="no column 'answer'"):
        open_benchmark("pope:data=hub").check()
