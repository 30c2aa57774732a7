"""CHAIR's quirks on invented captions, its errors, and what must not change its figures."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvlm_saliency.benchmarks import chair
from lvlm_saliency.benchmarks.chair.lists import words
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.files.records import read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap

FAST = Bootstrap(resamples=50)


def nodes(caption, synonyms):
    return chair.find_mentions(caption, synonyms).nodes


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("A table beside a Table.", ["dining table", "dining table"]),  # not deduplicated
        ("Two women and their dogs.", ["person", "dog"]),
        ("A bus and two buses.", ["bus"]),  # the singular is lost
        ("A wine glass, two wine glasses.", ["wine glass", "wine glass"]),
        ("A train track and a train.", ["train"]),  # home plate and train track are no objects
        ("A passenger train.", ["train"]),
        ("A baby dog.", ["dog"]),
        ("A toilet with its seat up, a seat.", ["toilet"]),  # every seat is dropped
        ("A toilet seat.", ["toilet"]),
        ("A seat.", ["chair"]),
        ("A motor bike.", []),  # the list's entry has a leading blank
        ("A man in a bow tie.", ["person", "tie"]),
        ("A tennis racket.", ["tennis racket"]),
        ("A table.The dog.", ["dog"]),  # glued
        ("dog/cat", []),
        ("", []),
    ],
)
def test_mentions(caption, found, synonyms):
    assert nodes(caption, synonyms) == found


def test_positions_are_shifted_after_a_dropped_seat(synonyms):
    found = chair.find_mentions("a toilet seat, a seat and a dog", synonyms)
    assert found.words == ["toilet", "dog"]
    plain = chair.find_mentions("a toilet tank, a thing and a dog", synonyms)
    assert plain.token_index == [1, 8]
    assert found.token_index == [1, 7]


def test_counts_and_figures(synonyms_file):
    captions = [
        {"image_id": 1, "caption": "A dog and a dog under a table."},
        {"image_id": 2, "caption": "Nothing to see."},
    ]
    result = chair.score(captions, {"1": ["dog", "person"], 2: []}, synonyms_file, bootstrap=FAST)
    assert result["captions"] == 2
    assert result["mentions"] == 3
    assert result["hallucinated_mentions"] == 1
    assert result["CHAIR_s"] == 0.5
    assert result["CHAIR_i"] == 1 / 3
    assert result["recall"] == 0.5
    assert result["length"] == (9 + 4) / 2
    first, second = result["per_caption"]
    assert first["hallucinated"] == [{"word": "table", "node_word": "dining table", "token_index": 7}]
    assert second["CHAIR_i"] == 0.0
    assert math.isnan(second["recall"])  # an empty truth has no recall, and adds nothing to the total


def test_undefined_figures_are_nan(synonyms):
    none = chair.score([], {}, synonyms, bootstrap=FAST)
    assert math.isnan(none["CHAIR_s"])
    assert none["captions"] == 0
    silent = chair.score([{"image_id": 1, "caption": ""}], {1: []}, synonyms, bootstrap=FAST)
    assert silent["CHAIR_s"] == 0.0
    assert math.isnan(silent["CHAIR_i"])
    assert all(map(math.isnan, silent["intervals"]["CHAIR_i"]))


@pytest.mark.parametrize("image", [42, "42", "COCO_val2014_000000000042.jpg", "000042"])
def test_one_image_by_any_name(image, synonyms):
    captions = [{"image_id": image, "caption": "a dog"}]
    assert chair.score(captions, {"42": ["dog"]}, synonyms, bootstrap=FAST)["CHAIR_s"] == 0.0


BAD_LINES = {
    "not JSON": ("{oops", "malformed"),
    "image 9 is not among": ('{"image_id": 9, "caption": "a dog"}', "unknown_image"),
    "second caption of image 1": ('{"image_id": 1, "caption": "a dog"}', "duplicate"),
    "needs an image_id and a caption": ('{"image_id": 2}', "malformed"),
    "needs an image_id": ('{"caption": "a dog"}', "malformed"),
    "found list": ("[1]", "malformed"),
}


@pytest.mark.parametrize("message", BAD_LINES)
def test_a_bad_line_is_named_or_counted(message, synonyms, tmp_path):
    line, kind = BAD_LINES[message]
    path = tmp_path / "captions.jsonl"
    path.write_text('{"image_id": 1, "caption": "a dog"}\n\n' + line + '\n{"image_id": 3, "caption": ""}\n')
    objects = {1: ["dog"], 2: [], 3: []}
    with pytest.raises(InputError, match=rf"captions\.jsonl:3: .*{message}"):
        chair.score(path, objects, synonyms, bootstrap=FAST)
    result = chair.score(path, objects, synonyms, errors="skip", bootstrap=FAST)
    assert result["skipped"] == {kind: 1}
    assert result["captions"] == 2


def test_wrong_settings_and_files(synonyms, synonyms_file, tmp_path):
    with pytest.raises(SettingError, match="did you mean 'lemmatizer'"):
        chair.score([], {}, synonyms, "lemmatiser")
    with pytest.raises(SettingError, match="'raise' or 'skip'"):
        chair.score([], {}, synonyms, errors="ignore")
    with pytest.raises(InputError, match="cannot be read"):
        chair.score(tmp_path / "none.jsonl", {}, synonyms)
    with pytest.raises(InputError, match="'table' is no node word"):
        chair.score([], {1: ["table"]}, synonyms)
    with pytest.raises(InputError, match="list of node words"):
        chair.score([], {1: "dog"}, synonyms)
    with pytest.raises(InputError, match="cannot read the synonym list"):
        chair.score([], {}, tmp_path / "none.txt")
    synonyms_file.write_text("a, b\nc, b\n")
    with pytest.raises(InputError, match=r"synonyms.txt:2: 'b' already stands for 'a'"):
        chair.Synonyms.read(synonyms_file)


def test_the_first_layout_of_chair_files(synonyms, tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"overall": {}, "imgToEval": {"7": {"image_id": 7, "caption": "a dog"}}}))
    assert chair.score(path, {7: ["dog"]}, synonyms, bootstrap=FAST)["mentions"] == 1


VOCABULARY = words("a dog, dogs. people table seat toilet bus trains wine glasses the")
CAPTION = st.lists(st.sampled_from(VOCABULARY), max_size=9)
CAPTIONS = st.lists(CAPTION.map(" ".join), min_size=1, max_size=6)


@given(
    captions=CAPTIONS,
    shuffler=st.randoms(use_true_random=False),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    as_list=st.booleans(),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_line_ends_bom_and_layout_change_nothing(captions, shuffler, end, bom, as_list, synonyms, tmp_path):
    rows = [{"image_id": image, "caption": caption} for image, caption in enumerate(captions)]
    objects = {image: ["dog"] for image in range(len(rows))}
    one = chair.score(rows, objects, synonyms, bootstrap=FAST)
    shuffled = shuffler.sample(rows, len(rows))
    text = json.dumps(shuffled, indent=1) if as_list else "\n".join(map(json.dumps, shuffled)) + "\n\n"
    path = tmp_path / "captions"
    path.write_bytes((("\ufeff" if bom else "") + text.replace("\n", end)).encode())
    two = chair.score(path, objects, synonyms, bootstrap=FAST)
    for result in (one, two):
        for part in ("per_caption", "intervals"):
            del result[part]
    assert repr(one) == repr(two)  # repr: NaN equals NaN


@given(captions=CAPTIONS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_fuller_truth_never_hallucinates_more(captions, synonyms):
    rows = [{"image_id": image, "caption": caption} for image, caption in enumerate(captions)]
    some = chair.score(rows, {image: ["dog"] for image in range(len(rows))}, synonyms, bootstrap=FAST)
    full = chair.score(rows, {image: synonyms.nodes for image in range(len(rows))}, synonyms, bootstrap=FAST)
    assert full["hallucinated_mentions"] == 0 <= some["hallucinated_mentions"] <= some["mentions"] == full["mentions"]


def test_a_list_keeps_the_lines_of_its_items(tmp_path):
    path = tmp_path / "captions.json"
    path.write_text('[\n {"a": 1},\n {"a":\n 2}, {"a": 3}\n]')
    assert read_rows(path).lines == [2, 3, 4]
