"""Ground truth from files in COCO's layout."""

from __future__ import annotations

import json

import pytest

from lvlm_saliency.benchmarks import chair
from lvlm_saliency.errors import InputError
from lvlm_saliency.files import json_stream


@pytest.fixture
def coco(tmp_path):
    """Two images; COCO's order of keys, categories last."""
    instances = {
        "info": {"year": 2014},
        "images": [{"id": 1}, {"id": 2}, {"id": 3}],
        "licenses": [],
        "annotations": [
            {"image_id": 1, "category_id": 18, "segmentation": [[1.5, 2.0]]},
            {"image_id": 1, "category_id": 18},
            {"image_id": 2, "category_id": 6},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 6, "name": "bus"}],
    }
    captions = {
        "images": [{"id": 1}, {"id": 2}, {"id": 3}],
        "annotations": [
            {"image_id": 1, "id": 7, "caption": "A man with a pup at a desk."},
            {"image_id": 1, "id": 8, "caption": "People."},
        ],
    }
    paths = tmp_path / "instances_val.json", tmp_path / "captions_val.json"
    for path, content in zip(paths, (instances, captions), strict=True):
        path.write_text(json.dumps(content, indent=1))
    return paths


def test_categories_and_references_are_united(coco, synonyms):
    instances, captions = coco
    truth = chair.from_coco([instances], [captions], synonyms)
    assert truth == {"1": ["dining table", "dog", "person"], "2": ["bus"], "3": []}
    assert chair.from_coco([instances], [captions], synonyms, images=["1"]) == {"1": truth["1"]}
    assert set(chair.read_objects(truth, synonyms)) == {"1", "2", "3"}


def test_chunks_may_cut_anywhere(coco, synonyms, monkeypatch):
    whole = chair.from_coco([coco[0]], [coco[1]], synonyms)
    for size in (1, 7, 64):
        monkeypatch.setattr(json_stream, "_CHUNK", size)
        assert chair.from_coco([coco[0]], [coco[1]], synonyms) == whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"annotations": [{"image_id": 1}]}', "without 'category_id'"),
        ('{"annotations": [{"image_id": 1, "category_id": 5}]}', "category 5 of image 1 has no name"),
        (
            '{"annotations": [{"image_id": 1, "category_id": 5}], "categories": [{"id": 5, "name": "yak"}]}',
            "'yak' is not in the synonym list",
        ),
        ('{"annotations": [{"image_id"', "not JSON"),
        ('{"annotations": [', "ends before it is complete"),
        ("[]", "expected '{'"),
        ('{"annotations": [3]}', "not COCO's layout"),
    ],
)
def test_other_files_are_refused(content, message, synonyms, tmp_path):
    path = tmp_path / "instances.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        chair.from_coco([path], [], synonyms)
    assert str(path) in str(error.value)
