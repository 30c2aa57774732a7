"""What is no ordinary file, or no sensible content, is refused at once and by name."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.benchmarks import chair, pope
from lvlm_saliency.errors import InputError, ModelError
from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.files import UnreadableError, open_file, parse_json, read_bytes, read_mapping, read_text
from lvlm_saliency.files.archives import read_arrays
from lvlm_saliency.interventions.preset_files import Preset
from lvlm_saliency.risk.model import RiskModel
from lvlm_saliency.studies.label_files import checked

BOMB = "a: &a [1,1,1,1,1,1,1,1]\n" + "".join(
    f"{after}: &{after} [{','.join(['*' + before] * 8)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Aliases of aliases: eight to the ninth values."""


@pytest.fixture(params=["pipe", "socket", "device", "folder", "loop", "missing", "nul"])
def strange(request, tmp_path):
    """A path at which there is no ordinary file."""
    path = tmp_path / "strange"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            os.chdir(tmp_path)
            one.bind("strange")
    elif request.param == "device":
        path = Path("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "loop":
        path.symlink_to(path)
    elif request.param == "nul":
        path = tmp_path / "a\0b"
    return path


READERS = {
    "bytes": read_bytes,
    "yaml": read_mapping,
    "preset": Preset.read,
    "trace": ls.SaliencyTrace.load,
    "risk": RiskModel.load,
    "arrays": read_arrays,
    "labels": lambda path: checked(path, path.parent),
    "pope": lambda path: pope.score(path, []),
    "chair": chair.Synonyms.read,
    "coco": lambda path: chair.from_coco([path], [], chair.Synonyms({"dog": "dog"})),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("reader", list(READERS))
def test_nothing_hangs_on_what_is_no_file(strange, reader, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        READERS[reader](strange)
    assert strange.name.partition("\0")[0] in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_run_folder_and_a_model_folder_of_pipes(tmp_path):
    for name in ("config.json", "scores.json", "model.safetensors"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=r"scores\.json.*a pipe"):
        RunFolder(tmp_path).load("scores.json")
    with pytest.raises(ModelError, match="a pipe, not an ordinary file"):
        ls.load_model(tmp_path)
    with pytest.raises(ModelError, match="no folder"):
        ls.load_model(tmp_path / "config.json")


def test_no_more_than_the_limit_is_read(tmp_path):
    path = tmp_path / "endless"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no room
    with pytest.raises(UnreadableError, match="more than 1,000 bytes"):
        read_bytes(path, 1000)
    with pytest.raises(InputError, match="more than"):
        read_mapping(path)
    for reader in (ls.SaliencyTrace.load, RiskModel.load):
        with pytest.raises(InputError, match="a header of"):
            reader(path)


def test_text_is_what_an_editor_shows(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"
    path.write_bytes(b"a\xff")
    with pytest.raises(InputError, match=r"not UTF-8 text \(byte 1\)"):
        read_text(path)
    with open_file(path) as file:
        assert file.read() == b"a\xff"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "twice"),
        ("[1e999]", "too large"),
        ("[NaN]", "no number"),
        ("[" + "9" * 5000 + "]", "whole number"),
        ("[" * 101 + "]" * 101, "deeper"),
        ("[" * 100000, "deeper"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "deeper"),
        ('"\\ud800"', "half"),
        ("", "Expecting"),
    ],
)
def test_json_without_its_freedoms(text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=10,
    )
)  # fmt: skip
def test_json_that_is_sound_is_read_as_ever(value):
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", "given twice"),
        ("a: &x [*x]\n", "within itself"),
        ("a: " + "[" * 60 + "]" * 60, "deeper"),
        ("a: " + "[" * 50000, "deeper"),
        (BOMB, "more than"),
        ("a: !!python/object/apply:os.system [id]\n", "not YAML"),
        ("a: 2001-13-45\n", "cannot be read"),
        ("a: !!int ''\n", "cannot be read"),
        ("a: " + "9" * 6000, "cannot be read"),
        ("? [a]\n: 1\n", "not YAML"),
        ("- a\n", "expected"),
        ("a: \x00\n", "not YAML"),
    ],
)  # fmt: skip
def test_yaml_without_its_freedoms(tmp_path, text, words):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_mapping(path)
    assert "s.yaml" in str(caught.value)


def test_yaml_aliases_that_are_bearable(tmp_path):
    (tmp_path / "s.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a\n")
    assert read_mapping(tmp_path / "s.yaml") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}
