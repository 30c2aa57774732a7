"""The values of single scores: their limits, their special cases, and released code."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from detection.made import lens, reference, text
from lvlm_saliency.detection.ads import dispersion
from lvlm_saliency.detection.base import reduced
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.sadt import alike
from lvlm_saliency.errors import SettingError

from .full_reading import WORD, full, made


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
