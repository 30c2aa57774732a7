"""Pictures to choose settings on and pictures to judge them on are never the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.benchmarks.base import in_half
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import InputError


@given(st.text())
def test_every_picture_is_in_one_half_and_in_the_whole(key):
    assert in_half("dev", key) != in_half("test", key)
    assert in_half("all", key)


def test_the_halves_are_halves():
    assert 450 < sum(in_half("dev", str(image)) for image in range(1000)) < 550


def test_scenes_of_two_splits_are_different_pictures():
    dev, test = (open_benchmark(f"scenes-caption:split={split}", n=20) for split in ("dev", "test"))
    named = [{item.image for item in benchmark.items} for benchmark in (dev, test)]
    drawn = [{benchmark.picture_digest(item) for item in benchmark.items} for benchmark in (dev, test)]
    assert not named[0] & named[1]
    assert not drawn[0] & drawn[1]
    assert len(drawn[0]) == len(drawn[1]) == 20


def test_an_offset_goes_on_where_the_first_pictures_end():
    whole = open_benchmark("scenes-caption:split=dev", n=7)
    parts = [open_benchmark(f"scenes-caption:split=dev,offset={at}", n=n) for at, n in ((0, 3), (3, 4))]
    assert [item.image for part in parts for item in part.items] == [item.image for item in whole.items]
    assert parts[1].scenes == whole.scenes[3:]
    assert parts[1].picture_digest(parts[1].items[0]) == whole.picture_digest(whole.items[3])


def test_what_a_run_records_is_unchanged_where_nothing_was_asked_for():
    assert open_benchmark("scenes-caption", n=3).described() == {"name": "scenes-caption", "n": 3, "seed": 0}
    assert open_benchmark("scenes-caption:split=dev", n=3).described()["split"] == "dev"
    assert open_benchmark("chair", n=3).described().keys() == {"name", "n", "variant", "image_list"}
    assert open_benchmark("chair:offset=2", n=3).described()["offset"] == 2


@pytest.fixture
def coco(tmp_path):
    """Ground truth of 60 pictures, as `chair` takes it."""
    (tmp_path / "synonyms.txt").write_text("dog, puppy\n")
    (tmp_path / "coco_objects.json").write_text(json.dumps({str(image): ["dog"] for image in range(1, 61)}))
    return {"data": tmp_path, "images": tmp_path}


def test_halves_of_coco_are_disjoint_and_make_up_the_whole(coco):
    everything = [item.id for item in open_benchmark("chair", **coco).items]
    dev, test = ([i.id for i in open_benchmark(f"chair:split={half}", **coco).items] for half in ("dev", "test"))
    assert not set(dev) & set(test)
    assert sorted(dev + test) == sorted(everything)
    assert min(len(dev), len(test)) > 15
    assert [item.id for item in open_benchmark("chair:split=dev,offset=4", n=5, **coco).items] == dev[4:9]


def test_an_offset_behind_the_last_picture_is_told(coco):
    with pytest.raises(InputError, match="no image to describe in dev past number 100"):
        open_benchmark("chair:split=dev,offset=100", **coco).check()
