"""Every score: which row and layer it reads, its invariances and limits, and where it is undefined."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from detection.made import attention, lens, reference, text
from lvlm_saliency.detection.ads import dispersion
from lvlm_saliency.detection.base import NOMINAL, Depth, reduced
from lvlm_saliency.detection.mention import Mention, every_word
from lvlm_saliency.detection.registry import detector_class
from lvlm_saliency.detection.sadt import alike
from lvlm_saliency.errors import SettingError

WORD = Mention(1, 3, "dog", "dog")
VOCABULARY = 120


def full(seed=0, depth=4, count=4, image=slice(1, 5), heads=2, prompt=6):
    """A text with random figures of every kind."""
    random = np.random.default_rng(seed)
    reading = text(prompt, depth=depth, count=count, image=image)
    reading.attention = attention(reading, heads, seed)
    head = random.normal(size=(VOCABULARY, 8))
    reading.text = {i: random.normal(size=(count + 1, 8)) for i in range(depth + 1)}
    reading.image_states = {i: random.normal(size=(len(reading.image), 8)) for i in range(depth + 1)}
    behind = reading.prompt - 1 - int(reading.image.max(initial=-1))
    reading.prompt_states = {i: random.normal(size=(behind, 8)) for i in range(depth + 1)}
    ids = reading.answer
    for factor in (1.0, 0.1):
        for i in range(depth + 1):
            reading.image_lens[i, factor] = lens(factor * reading.image_states[i] @ head.T, ids)
            reading.prompt_lens[i, factor] = lens(factor * reading.prompt_states[i] @ head.T, ids)
    reading.logprob, reading.entropy = -random.random(count) - 0.1, random.random(count)
    reading.margin = random.normal(size=count)
    reading.surprise = random.random((count + 1, 3))
    reading.text_top = random.integers(0, 5, (count + 1, depth))
    reading.text_entropy = random.random((count + 1, depth))
    reading.chain = {layer: random.random((heads, 2, count + 1)) for layer in range(depth)}
    reading.unembedding = {int(i): head[i] for i in ids}
    reading.embedding = {int(i): random.normal(size=8) for i in ids}
    reading.tiles = [np.arange(len(reading.image)).reshape(2, -1)] if len(reading.image) % 2 == 0 else None
    reading.extra = {
        "self-check": {"dog": 1.5},
        "lpfv": {"dog": -2.5},
        "blank picture": {"log_ratio": random.normal(size=count), "divergence": random.random(count)},
    }
    reading.scores = {name: random.normal(size=count) for name in ("output", "previous", "image", "risk")}
    reading.trace = object()
    return reading


def made(name, **settings):
    return ls.detector(name, **({"tau": 1.0} if name == "viser" else {}), **settings)


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


def test_svar_lies_between_0_and_14():
    reading = text(depth=32)
    everything = np.zeros((2, 5, 10))
    everything[..., reading.image] = 1 / 4
    reading.attention = dict.fromkeys(range(32), everything)
    assert ls.detector("svar").score(reading, WORD) == pytest.approx(-14)
    reading.attention = dict.fromkeys(range(32), np.zeros((2, 5, 10)))
    assert ls.detector("svar").score(reading, WORD) == 0


def test_sums_over_a_large_picture_in_half_precision():
    reading = text(prompt=600, image=slice(2, 578), depth=32)
    rows = np.zeros((1, 5, 604), dtype=np.float16)
    rows[..., 2:578] = 1 / 576
    reading.attention = dict.fromkeys(range(32), rows)
    assert -ls.detector("svar").score(reading, WORD) == pytest.approx(14, rel=1e-3)


def test_pas_is_the_share_of_the_words_before():
    reading = text()
    width = reading.prompt + np.arange(5)
    rows = np.array([[np.r_[np.full(n, 1 / n), np.zeros(10 - n)] for n in width]])
    reading.attention = dict.fromkeys(range(4), rows)
    assert ls.detector("pas").score(reading, Mention(0, 1)) == 0
    for token in (1, 2, 3):
        assert ls.detector("pas").score(reading, Mention(token, token + 1)) == pytest.approx(token / (6 + token))
        at = ls.detector("pas", where="A").score(reading, Mention(token, token + 1))
        assert at == pytest.approx(token / (7 + token))
        even = ls.detector("pas", mode="per_token").score(reading, Mention(token, token + 1))
        assert even == pytest.approx(1)
    assert math.isnan(ls.detector("pas", mode="per_token").score(reading, Mention(0, 1)))


def test_lookback_of_even_attention_is_a_half():
    reading = text()
    reading.attention = dict.fromkeys(range(4), np.full((2, 5, 10), 0.1))
    assert ls.detector("lookback").score(reading, WORD) == pytest.approx(-0.5)
    assert ls.detector("lookback", mode="prompt").score(reading, WORD) == pytest.approx(-0.5)
    assert math.isnan(ls.detector("lookback", mode="prompt").score(reading, Mention(0, 1)))
    reading.attention = dict.fromkeys(range(4), np.full((2, 5, 10), 0.02))
    assert ls.detector("lookback").score(reading, WORD) == pytest.approx(-0.5)


@given(st.lists(st.floats(0, 1, width=32), min_size=36, max_size=36), st.floats(0.01, 100))
@settings(max_examples=50)
def test_dispersion_keeps_its_limits(values, scale):
    row, tile = np.array(values), np.arange(36).reshape(6, 6)
    found = dispersion(row, [tile])
    assert -1e-12 <= found <= 1 + 1e-12
    if row.max() - row.min() > 1e-3:
        assert dispersion(row * scale, [tile]) == pytest.approx(found, abs=1e-6)


def test_dispersion_of_turned_maps_and_of_tiles():
    random = np.random.default_rng(0)
    row = random.random(36)
    turned = np.rot90(row.reshape(6, 6)).ravel()
    tile = np.arange(36).reshape(6, 6)
    assert dispersion(turned, [tile]) == pytest.approx(dispersion(row, [tile]))
    # The same peaks side by side, once in one grid and once cut in two between them: only the first is a group.
    peaks = np.full(36, 0.001)
    peaks[[2, 3, 8, 9]] = 0.2
    halves = [tile[:, :3], tile[:, 3:]]
    background = peaks + np.linspace(0, 1e-4, 36)
    assert dispersion(background, [tile]) < dispersion(background, halves)


def test_internal_confidence_grows_with_patches_and_stays_below_1():
    reading = full()
    confident = -ls.detector("internal-confidence").score(reading, WORD)
    assert 0 < confident <= 1
    fewer = full()
    names = ("logits", "size", "top", "least", "kept")
    fewer.image_lens = {
        key: dataclasses.replace(one, **{name: getattr(one, name)[:2] for name in names})
        for key, one in fewer.image_lens.items()
    }
    assert -ls.detector("internal-confidence").score(fewer, WORD) <= confident
    tied = full()
    tied.tied = True
    tied.image_lens[0, 1.0].logits[:] = tied.image_lens[0, 1.0].kept[:, None]  # layer 0 is sure of every word
    assert -ls.detector("internal-confidence").score(tied, WORD) < 1


def test_cosines_know_no_lengths():
    for name in ("cgc", "contextual-lens", "glsim"):
        reading = full()
        before = made(name).score(reading, WORD)
        reading.text = {i: 7 * rows for i, rows in reading.text.items()}
        assert made(name).score(reading, WORD) == pytest.approx(before, rel=1e-9)


def test_glsim_with_every_patch_takes_their_mean():
    reading = full()
    found = ls.detector("glsim", count=576, weight=0.0).score(reading, WORD)
    patches, word = reading.image_states[4], reading.text[3][WORD.start]
    cosines = patches @ word / np.linalg.norm(patches, axis=1) / np.linalg.norm(word)
    assert -found == pytest.approx(cosines.mean())


def test_viser_before_the_first_word_and_unfitted():
    reading = full()
    assert made("viser").parts(reading, 0)["VR"] == pytest.approx(1, abs=1e-6)
    with pytest.raises(SettingError, match="needs tau"):
        ls.detector("viser").score(reading, WORD)
    viser = ls.detector("viser")
    fitted = viser.fitted(viser.cases([(reading, WORD, "a"), (full(1), WORD, "b")]))
    masses = [viser.mass(one, WORD.start).sum() for one in (reading, full(1))]
    assert fitted.tau == pytest.approx(np.mean(masses))


def test_logits():
    reading = full()
    assert ls.detector("nll", subtokens="mean").score(reading, WORD) == pytest.approx(-reading.logprob[1:3].mean())
    assert ls.detector("nll", mode="sum").score(reading, WORD) == pytest.approx(-reading.logprob[1:3].sum())
    assert ls.detector("margin").score(reading, WORD) == -reading.margin[1]


@pytest.mark.parametrize("how", ["first", "last", "mean", "max"])
def test_subtokens(how):
    reading = full()
    risks = [ls.detector("svar").score(reading, Mention(t, t + 1)) for t in WORD.tokens]
    assert ls.detector("svar", subtokens=how).score(reading, WORD) == pytest.approx(reduced(risks, how))
    assert math.isnan(reduced([1.0, math.nan], how)) or how == "first"


def test_rauq_reads_p_and_a_apart():
    reading = full()
    word = Mention(2, 3, "dog")
    both = [ls.detector("rauq", where=where).score(reading, word) for where in ("P", "A")]
    assert both[0] != both[1]
    assert ls.detector("rauq", alpha=1.0).score(reading, word) == pytest.approx(-reading.logprob[2])


def test_sadt_matches_as_the_released_code_does():
    for word, decoded, expected in reference("sadt")["matching"]:
        group = ("dog", "puppy") if word == "dog" else (word,)
        assert alike(group, decoded) == expected, (word, decoded)


def test_sadt_against_the_released_code():
    data = reference("sadt")
    head, states = np.array(data["lm_head_weight"]), np.array(data["prefill_hidden_incl_embeddings"])
    start, count, vocabulary = data["image_start"], data["num_image"], data["vocab"]
    steps = [np.array(step) for step in [[np.array(h) for h in step] for step in data["last_rows_step_layer_head_key"]]]
    image = slice(start, start + count)
    reading = text(prompt=states.shape[1], count=3, image=image, depth=6)
    reading.ids[states.shape[1] :] = data["answer_ids"]
    reading.rows = np.arange(len(steps))
    width = len(reading.ids)
    for layer in range(6):
        rows = [np.pad(step[layer], ((0, 0), (0, width - step[layer].shape[-1]))) for step in steps]
        reading.attention[layer] = np.stack(rows, axis=1)
        reading.image_lens[layer, 1.0] = lens(states[layer, image] @ head.T, data["answer_ids"])
    reading.piece = dict(enumerate(vocabulary))
    # Layers 2 to 4 of 6, in units of 32.
    one = ls.detector("sadt", first=2 * 32 / 6, last=4 * 32 / 6, count=data["topk"], mode="official_code",
                      synonyms=(("dog", "puppy"),))  # fmt: skip
    for found in data["detections"]:
        token = found["token_indices"][0]
        word = Mention(token, token + 1, found["word"], found["word"])
        assert -one.score(reading, word) == found["right_num"]
        decoded = {
            str(layer): [vocabulary[reading.image_lens[layer, 1.0].top[at]] for at in places]
            for layer, places in one.chosen_patches(reading, token).items()
        }
        assert decoded == found["decoded_by_layer"]


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
