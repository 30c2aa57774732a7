"""`explain --detector`: words coloured by a published score, the numbers, and what is refused before a model loads."""

from __future__ import annotations

import json
import math

import pytest

import lvlm_saliency as ls
from lvlm_saliency.detection.words import words_of
from lvlm_saliency.scenes import draw_scene, generate_scenes

ASKED = ("--prompt", "Describe the image.", "--max-new-tokens", "20")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "scene.png"
    draw_scene(generate_scenes(1, 7, "test")[0]).save(path)
    return path


def ask(run, picture, *more):
    return run("explain", "--image", picture, *ASKED, *more)


@pytest.mark.parametrize("name", ["svar", "glsim"])
def test_json_equals_the_python_face(run, scene, name):
    found = json.loads(ask(run, scene, "--detector", name, "--json").out)
    values = found["detectors"][name]
    assert len(values) == len(found["tokens"])
    model, processor = ls.load_model("scenes")
    picture = ls.open_image(scene)
    inputs = ls.build_inputs(processor, [picture], ASKED[1], model=model)
    sequences = model.generate(**inputs, max_new_tokens=20, do_sample=False)
    reading = ls.reading(model, inputs, sequences, [name], processor=processor, images=[[picture]])[0]
    words = words_of(found["tokens"])
    assert words
    for word in words:
        risk = ls.detector(name).score(reading, word)
        assert values[word.start] == pytest.approx(risk, abs=1e-4)
    inside = {t for word in words for t in word.tokens}
    assert all(value is None or math.isnan(value) for t, value in enumerate(values) if t not in inside)


def test_the_terminal_names_the_highest(run, scene):
    result = ask(run, scene, "--detector", "nll")
    assert (result.status, result.err) == (0, "")
    assert "nll: " in result.out
    assert "higher: more likely hallucinated" in result.out
    assert "highest: " in result.out


@pytest.mark.parametrize(("name", "said"), [("svra", "did you mean"), ("probe", "fitted"), ("viser", "fitted")])
def test_what_is_refused(run, scene, name, said):
    result = ask(run, scene, "--detector", name)
    assert result.status == 2
    assert said in result.err
    assert result.out == ""


def test_special_tokens_are_no_words():
    found = words_of(["A", " cat", "</s>", "[END]", "<|im_end|>"])
    assert [one.word for one in found] == ["A", "cat"]
