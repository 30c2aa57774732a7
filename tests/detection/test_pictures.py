"""Several pictures in one prompt: every score that reads image tokens reads those of all pictures, or has none."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

import lvlm_saliency as ls
from detection.full_reading import VOCABULARY, WORD, full, made
from detection.made import lens
from lvlm_saliency.detection.causal_risk import looked
from lvlm_saliency.detection.mention import every_word
from lvlm_saliency.detection.passes import denials
from lvlm_saliency.detection.registry import detector_class
from lvlm_saliency.risk.signals import of_trace
from lvlm_saliency.scenes import demo_scenes, draw_scene
from lvlm_saliency.tracing.result import token_texts
from zoo import FAMILIES

ORDER = [0, 1, 2, 3, 7, 4, 5, 6]
"""One picture of six tokens and two words behind it, as two pictures of three with the first of the words between."""
SCORES = ["svar", "ads", "cgc", "internal-confidence", "lens-cosine", "glsim", "contextual-lens", "viser", "inslen",
          "sadt", "overthinking"]  # fmt: skip
FEATURES = [
    "metatoken",
    "svar-trained",
    "ads-trained",
    "haloprobe",
    "overthinking-trained",
    "probe",
    "causal-risk",
    "grounded-risk",
]


def apart():
    """(one picture, two pictures): the same tokens with the same figures, two of them elsewhere."""
    one = full(image=slice(1, 7), prompt=9)
    one.tiles = [np.array([[0, 1, 2]]), np.array([[3, 4, 5]])]
    # Behind two pictures stands the last word alone.
    random = np.random.default_rng(3)
    head = random.normal(size=(VOCABULARY, 8))
    one.prompt_states = {index: states[-1:] for index, states in one.prompt_states.items()}
    for key in one.prompt_lens:
        one.prompt_lens[key] = lens(key[1] * one.prompt_states[key[0]] @ head.T, one.answer)
    columns = [*ORDER, *range(len(ORDER), len(one.ids))]
    two = dataclasses.replace(
        one,
        ids=one.ids[columns],
        image=np.array([1, 2, 3, 5, 6, 7]),
        attention={layer: rows[..., columns] for layer, rows in one.attention.items()},
        pictures=2,
    )
    return one, two


@pytest.mark.parametrize(("name", "where"), [(name, where) for name in SCORES for where in detector_class(name).places])
def test_a_score_is_that_of_all_image_tokens_wherever_they_stand(name, where):
    one, two = apart()
    expected = made(name, where=where).score(one, WORD)
    assert math.isfinite(expected)
    assert made(name, where=where).score(two, WORD) == pytest.approx(expected, rel=1e-9)
    # And it does read the second picture.
    if name in ("svar", "ads", "cgc", "internal-confidence", "contextual-lens"):
        first = dataclasses.replace(
            two,
            image=two.image[:3],
            image_states={index: states[:3] for index, states in two.image_states.items()},
            image_lens={key: _first(some) for key, some in two.image_lens.items()},
            tiles=two.tiles[:1],
        )
        assert made(name, where=where).score(first, WORD) != pytest.approx(expected, rel=1e-6)


def _first(some):
    names = ("logits", "size", "top", "least", "kept")
    return dataclasses.replace(some, **{name: getattr(some, name)[:3] for name in names})


@pytest.mark.parametrize("name", FEATURES)
def test_features_are_those_of_all_image_tokens(name):
    one, two = apart()
    expected = ls.detector(name).features(one, WORD)
    assert np.isfinite(expected).mean() > 0.9  # there are no two words before the second
    np.testing.assert_allclose(ls.detector(name).features(two, WORD), expected, rtol=1e-9)


def test_lookback_counts_as_new_what_stands_behind_the_last_picture():
    _, two = apart()
    for name in ("lookback", "lookback-trained"):
        found = []
        for layer in two.depth.attention:
            weights = two.headwise(layer, WORD.start)
            back, new = weights[:, two.image].mean(axis=1), weights[:, 8:].mean(axis=1)
            found.append(back / (back + new))
        if name == "lookback":
            assert made(name).score(two, WORD) == pytest.approx(-np.mean(found), rel=1e-9)
        else:
            np.testing.assert_allclose(ls.detector(name).features(two, WORD), np.ravel(found), rtol=1e-9)


def test_there_is_no_one_map_of_several_pictures():
    one, two = apart()
    assert np.isfinite(ls.detector("dhcp").features(one, WORD)).all()
    assert np.isnan(ls.detector("dhcp").features(two, WORD)).all()


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3", "internvl"])
def test_both_pictures_tokens_are_laid_out_once_each(name):
    family = FAMILIES[name]
    model, processor = family.build()
    inputs = family.inputs(images=2)
    tokenizer = getattr(processor, "tokenizer", processor)
    ids = tokenizer("there is a clock", add_special_tokens=False, return_tensors="pt")["input_ids"]
    sequences = torch.cat([inputs["input_ids"], ids], 1)
    names = ["ads", "cgc", "dhcp", "svar"]
    shown = {"processor": processor, "images": family.pictures(images=2)}
    found = ls.reading(model, dict(inputs), sequences, names, **shown)[0]
    regions = ls.token_regions(model, inputs, sequences)
    np.testing.assert_array_equal(found.image, regions.image[0].nonzero().flatten())
    assert found.pictures == 2
    laid = np.concatenate([tile.ravel() for tile in found.tiles])
    assert len(np.unique(laid)) == len(laid)
    assert laid.min() == 0
    assert laid.max() < len(found.image)
    alone = family.inputs(images=1)
    one = ls.reading(
        model, dict(alone), torch.cat([alone["input_ids"], ids], 1), names,
        processor=processor, images=family.pictures(images=1),
    )[0]  # fmt: skip
    assert len(found.tiles) >= 2 * len(one.tiles) or len(found.image) > len(one.image)
    for detector in ("ads", "cgc", "svar"):
        assert math.isfinite(ls.detector(detector).score(found, ls.Mention(1, 2, "is")))


@pytest.fixture(scope="module")
def two_scenes():
    model, processor = ls.load_model("scenes", device="cpu")
    pictures = [draw_scene(scene) for scene in demo_scenes(2)]
    inputs = ls.build_inputs(processor, pictures, "Describe the image.", model=model)
    ids = processor.tokenizer("There is a dog and a cat.", add_special_tokens=False, return_tensors="pt")["input_ids"]
    return model, processor, pictures, inputs, torch.cat([inputs["input_ids"], ids], 1)


def test_traces_and_readings_agree_on_two_pictures(two_scenes):
    model, processor, pictures, inputs, sequences = two_scenes
    trace = ls.trace(model, inputs, sequences)
    names = ["svar", "image-saliency", "causal-risk", "risk"]
    reading = ls.reading(model, inputs, sequences, names, processor=processor, images=[pictures])[0]
    groups = ("attention", "attention concentration")
    signals = of_trace(trace, groups=groups)
    for mention in every_word(token_texts(processor.tokenizer, sequences[0, inputs["input_ids"].shape[1] :].tolist())):
        for name in ("svar", "image-saliency", "risk"):
            expected = ls.detector(name).score(trace, mention)
            assert ls.detector(name).score(reading, mention) == pytest.approx(expected, rel=1e-3, abs=1e-6)
        if mention.start < 1:
            continue
        for number, layer in enumerate(reading.depth.attention):
            found = looked(reading, layer, mention.start)
            expected = signals["attention"][0, mention.start, 5 * number : 5 * number + 5]
            assert found[:5] == pytest.approx(expected, abs=1e-3)
            near = signals["attention concentration"][0, mention.start, 2 * number : 2 * number + 2]
            assert found[5:] == pytest.approx(near, abs=1e-3)


def test_questions_show_both_pictures_and_a_blank_one_blanks_both(two_scenes):
    model, processor, pictures, inputs, sequences = two_scenes
    shown = {"processor": processor, "images": [pictures], "mentions": [ls.Mention(3, 4, "dog")]}
    reading = ls.reading(model, inputs, sequences, ["self-check", "lpfv", "blank-picture"], **shown)[0]
    both = denials(model, processor, pictures, ["dog"])["dog"]
    assert reading.extra["self-check"]["dog"] == pytest.approx(both, abs=1e-4)
    assert both != pytest.approx(denials(model, processor, pictures[:1], ["dog"])["dog"], abs=1e-3)
    # With both pictures swapped for others the text read with blank ones stays the same.
    others = [draw_scene(scene) for scene in demo_scenes(4)[2:]]
    changed = ls.build_inputs(processor, others, "Describe the image.", model=model)
    again = ls.reading(model, changed, sequences, ["blank-picture", "nll"], processor=processor, images=[others])[0]
    first = ls.reading(model, inputs, sequences, ["blank-picture", "nll"], processor=processor, images=[pictures])[0]
    blank = [one.logprob - one.extra["blank picture"]["log_ratio"] for one in (first, again)]
    np.testing.assert_allclose(blank[0], blank[1], atol=1e-4)
