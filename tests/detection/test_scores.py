"""What holds for every score: which row and layer it reads, its invariances, and where it is undefined."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import lvlm_saliency as ls
from lvlm_saliency.detection.base import NOMINAL, Depth
from lvlm_saliency.detection.mention import Mention, every_word
from lvlm_saliency.detection.registry import detector_class
from lvlm_saliency.errors import SettingError

from .full_reading import WORD, full, made

STOCK = [name for name in ls.detectors() if detector_class(name).fit != "trained" or name == "risk"]


@pytest.mark.parametrize("name", STOCK)
def test_a_score_is_a_float_and_says_what_it_needs(name):
    one = made(name)
    assert one.needs(NOMINAL).kinds
    assert isinstance(one.score(full(), WORD), float)
    assert math.isfinite(one.score(full(), WORD))
    assert detector_class(name).__doc__
    assert one.title
    assert "subtokens" in {field.name for field in dataclasses.fields(one)}


@pytest.mark.parametrize("name", STOCK)
def test_a_word_cut_off_or_outside_has_no_score(name):
    assert math.isnan(made(name).score(full(), Mention(3, 6, "dog")))
    assert math.isnan(made(name).score(full(), Mention(2, 2, "dog")))


PICTURED = ["svar", "lookback", "ads", "cgc", "internal-confidence", "lens-cosine", "glsim", "contextual-lens", "viser",
            "inslen", "sadt", "blank-picture"]  # fmt: skip


@pytest.mark.parametrize("name", PICTURED)
def test_without_a_picture_there_is_no_score(name):
    reading = full(image=slice(0, 0))
    assert math.isnan(made(name).score(reading, WORD))


CAUSAL = [name for name in STOCK if detector_class(name).causal]


@pytest.mark.parametrize(("name", "where"), [(name, where) for name in CAUSAL for where in detector_class(name).places])
def test_what_follows_the_word_changes_nothing(name, where):
    one = made(name, where=where)
    short, longer = full(), full(count=4)
    last = WORD.end + 1  # rows up to A of the word's last token
    for held in (longer.attention, longer.chain):
        for layer, values in held.items():
            held[layer] = values.copy()
            held[layer][:, last:] = 9.0 if held is longer.attention else values[:, last:]
            if held is longer.chain:
                held[layer][:, :, last:] = 9.0
    for layer in longer.text:
        longer.text[layer][last:] = 9.0
    for values in (longer.logprob, longer.entropy, longer.margin):
        values[WORD.end :] = 9.0
    longer.text_entropy[last:] = 9.0
    longer.ids[longer.prompt + WORD.end :] = 7
    assert one.score(longer, WORD) == one.score(short, WORD)


def marked(count=4, depth=4):
    """Row r and layer l of attention put (1 + r) / 100 + l on the picture; states point in a direction of their own."""
    reading = full(count=count, depth=depth)
    for layer in range(depth):
        rows = np.zeros_like(reading.attention[layer])
        rows[:, np.arange(count + 1)[:, None], reading.image] = ((1 + np.arange(count + 1)) / 100 + layer)[:, None] / 4
        reading.attention[layer] = rows
    return reading


@pytest.mark.parametrize("token", [0, 1, 3])
@pytest.mark.parametrize("where", ["P", "A"])
def test_the_row_that_is_read(token, where):
    reading = marked()
    word = Mention(token, token + 1, "dog")
    row = token + (where == "A")
    one = ls.detector("svar", where=where, first=8, last=23)  # layers 1 to 3 of 4
    expected = sum((1 + row) / 100 + layer for layer in (1, 2, 3))
    assert -one.score(reading, word) == pytest.approx(expected, rel=1e-6)
    for rows in (reading.text_top, reading.text_entropy):
        rows[:] = 0
    reading.text_entropy[row] = 1
    assert ls.detector("overthinking", where=where).score(reading, word) == pytest.approx(1 / 4)


@pytest.mark.parametrize(("name", "read"), [("glsim", {"text": {3, 4}, "image_states": {4}}),
                                            ("contextual-lens", {"text": {3}, "image_states": {2}}),
                                            ("cgc", {"text": {2, 3}, "image_states": {2, 3}}),
                                            ("viser", {"text": {3}, "image_states": {4}}),
                                            ("inslen", {"text": {4}, "image_states": {3}, "prompt_states": {3}}),
                                            ("lens-cosine", {"image_states": {4}})])  # fmt: skip
def test_no_other_state_is_read(name, read):
    one = made(name)
    whole, cut = full(), full()
    for kind in ("text", "image_states", "prompt_states"):
        held = getattr(cut, kind)
        setattr(cut, kind, {i: rows for i, rows in held.items() if i in read.get(kind, set())})
    assert one.score(cut, WORD) == one.score(whole, WORD)
    needs = one.needs(Depth.of(4))
    assert needs.text == frozenset(read.get("text", ()))
    assert needs.image == frozenset(read.get("image_states", ()))


@pytest.mark.parametrize("name", ["svar", "pas", "lookback", "ads"])
def test_heads_may_be_shuffled(name):
    reading = full(heads=3)
    before = made(name).score(reading, WORD)
    reading.attention = {layer: rows[[2, 0, 1]] for layer, rows in reading.attention.items()}
    assert made(name).score(reading, WORD) == pytest.approx(before, rel=1e-9)


@pytest.mark.parametrize("name", ["svar", "lookback", "internal-confidence", "lens-cosine", "cgc", "glsim", "viser"])
def test_patches_may_be_shuffled(name):
    reading = full()
    before = made(name).score(reading, WORD)
    order = np.array([2, 0, 3, 1])
    for layer, rows in reading.attention.items():
        moved = rows.copy()
        moved[..., reading.image] = rows[..., reading.image[order]]
        reading.attention[layer] = moved
    reading.image_states = {i: rows[order] for i, rows in reading.image_states.items()}
    names = ("logits", "size", "top", "least", "kept")
    reading.image_lens = {
        key: dataclasses.replace(one, **{name: getattr(one, name)[order] for name in names})
        for key, one in reading.image_lens.items()
    }
    assert made(name).score(reading, WORD) == pytest.approx(before, rel=1e-9)


def test_layers_are_scaled_to_the_depth_and_to_those_that_attend():
    assert NOMINAL.layers(5, 18) == tuple(range(5, 19))
    assert Depth.of(6).layers(5, 18) == (1, 2, 3)
    assert NOMINAL.middle() == tuple(range(8, 24))
    hybrid = Depth(32, tuple(range(3, 32, 4)))
    assert hybrid.layers(5, 18) == (7, 11, 15)
    assert hybrid.layer(0) == 3
    assert ls.detector("pas").needs(hybrid).attention == {3}
    assert [NOMINAL.hidden(i) for i in (0, 31, 32)] == [0, 31, 32]
    assert [Depth.of(6).hidden(i) for i in (0, 13, 27, 32)] == [0, 2, 5, 6]


def test_settings_are_checked():
    with pytest.raises(SettingError, match="did you mean"):
        ls.detector("svarr")
    with pytest.raises(SettingError, match="no setting 'layer'"):
        ls.detector("svar", layer=3)
    with pytest.raises(SettingError, match="where='X'"):
        ls.detector("svar", where="X")
    with pytest.raises(SettingError, match="where='A'"):
        ls.detector("nll", where="A")
    with pytest.raises(SettingError, match="subtokens"):
        ls.detector("svar", subtokens="median")


def test_every_word_of_an_answer():
    pieces = ["A", " hot", "-", "dog", ",", " two", " tea", "cups", ".", "", " Two", " dogs", "!"]
    found = every_word(pieces)
    assert [(m.word, m.start, m.end) for m in found] == [
        ("A", 0, 1), ("hot-dog", 1, 4), ("two", 5, 6), ("teacups", 6, 8), ("Two", 10, 11), ("dogs", 11, 12),
    ]  # fmt: skip
    assert [m.first for m in found] == [True, True, True, True, False, True]
    assert found[4].occurrence == 2
