"""Reading: what is forgiven, what is named, what is counted."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems, image_key, place, read_json, read_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    rows=st.lists(st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=3), min_size=1, max_size=6),
    as_list=st.booleans(),
    indent=st.sampled_from([None, 1]),
    bom=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
    ascii_only=st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_layouts_round_trip(rows, as_list, indent, bom, end, ascii_only, tmp_path):
    dump = {"ensure_ascii": ascii_only}
    text = json.dumps(rows, indent=indent, **dump) if as_list else "\n".join(json.dumps(row, **dump) for row in rows)
    path = tmp_path / "rows.json"
    path.write_bytes((("\ufeff" if bom else "") + text.replace("\n", end)).encode())
    assert read_rows(path) == rows


@pytest.mark.parametrize(
    ("content", "message", "left"),
    [
        ('{"a": 1}\n{"a": \n{"a": 2}', "rows:2: not JSON", 2),
        ('{"a": 1}\nnull', "rows:2: expected a JSON object, found NoneType", 1),
        ('[{"a": 1},\n 5]', "rows:2: expected a JSON object, found int", 1),
        ('[{"a": 1},\n{"a": ', "rows:2: not JSON", 1),
        ('[{"a": 1} {"a": 2}]', "rows:1: the list is cut off", 1),
        ("[" * 100_000, "rows:1: not JSON", 0),
        ('{"a": ' + "9" * 5000 + "}", "rows:1: not JSON", 0),
    ],
)
def test_what_cannot_be_read_is_named_by_line(content, message, left, tmp_path):
    path = tmp_path / "rows"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_rows(path)
    problems = Problems("skip")
    assert len(read_rows(path, problems)) == left
    assert problems.skipped == {"malformed": 1}
    kept = read_rows(path, Problems("skip"), keep_places=True)
    assert len(kept) == left + 1
    assert len(kept.unread) == 1


def test_files_that_are_none(tmp_path):
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n \n")
    binary.write_bytes(b'{"a": "\xff"}')
    for path, message in ((empty, "is empty"), (binary, "not UTF-8"), (tmp_path, "cannot be read")):
        with pytest.raises(InputError, match=message):
            read_rows(path, Problems("skip"))
    with pytest.raises(InputError, match=r"empty:3: not JSON"):
        read_json(empty)


def test_places(tmp_path):
    path = tmp_path / "rows"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert place(read_rows(path), 1, "answers") == f"{path}:3"
    assert place([{}, {}], 1, "answers") == "answers[1]"


@pytest.mark.parametrize("value", [True, None, "", 1.5, [], {}])
def test_no_image_id(value):
    assert image_key(value) is None


@given(st.integers(0, 10**12))
def test_image_ids_in_every_spelling(number):
    names = [number, str(number), f"{number:012d}", f"COCO_val2014_{number:012d}.jpg", f"COCO_train2014_{number:012d}"]
    assert {image_key(name) for name in names} == {str(number)}
