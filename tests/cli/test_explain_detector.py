"""`explain --detector`: words coloured by a published score, the numbers, and what is refused before a model loads."""

from __future__ import annotations

import json
import math

import pytest

import lvlm_saliency as ls
from lvlm_saliency.detection.mention import every_word
from lvlm_saliency.scenes import draw_scene, generate_scenes
from lvlm_saliency.scenes.classes import CLASSES, PLURALS

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
    special = processor.tokenizer.all_special_tokens
    words = every_word(["" if token in special else token for token in found["tokens"]])
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


def same(one, other):
    """Whether two lists of scores are equal but for the last digits; None where there is none."""
    known = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    assert len(known) == sum(a is not None for a in one) == sum(b is not None for b in other) > 3
    return all(a == pytest.approx(b, rel=1e-4, abs=1e-5) for a, b in known)


def data_of(page):
    """What a page shows."""
    text = page.read_text()
    return json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])


def test_several_detectors_in_the_terminal_and_on_the_page(run, scene, tmp_path):
    result = ask(run, scene, "--detector", "nll", "--detector", "svar", "--html", tmp_path / "page.html")
    assert result.status == 0
    assert result.out.index("nll: ") < result.out.index("svar: ")
    shown = data_of(tmp_path / "page.html")["cases"][0]["runs"][0]
    found = json.loads(ask(run, scene, "--detector", "nll", "--detector", "svar", "--json").out)
    assert [name for name, _ in shown["detectors"]] == ["nll", "svar"]
    for name, values in shown["detectors"]:
        assert same(values, found["detectors"][name])


def test_generate_explains_by_a_detector(run, scene, tmp_path):
    command = [
        "generate",
        "--image",
        scene,
        *ASKED,
        "--explain",
        "--detector",
        "svar",
        "--compare",
        "--method",
        "locore",
    ]
    result = run(*command, "--html", tmp_path / "page.html")
    assert result.status == 0
    assert result.out.count("svar: ") == 3
    assert "saliency on output" not in result.out
    assert "Model scenes; 6 layers traced." in (tmp_path / "page.html").read_text(encoding="utf-8")
    runs = data_of(tmp_path / "page.html")["cases"][0]["runs"]
    assert [one["name"] for one in runs] == ["greedy", "sampled", "locore"]
    found = json.loads(run(*command, "--json").out)["runs"]
    explained = json.loads(ask(run, scene, "--detector", "svar", "--json").out)
    assert same(found[0]["detectors"]["svar"], explained["detectors"]["svar"])
    for one, other in zip(runs, found, strict=True):
        assert same(one["detectors"][0][1], other["detectors"]["svar"])


@pytest.mark.parametrize("more", [["--detector", "svar"], ["--html", "page.html"]])
def test_generate_needs_explain_for_what_it_shows(run, scene, more):
    assert "--explain as well" in run("generate", "--image", scene, *ASKED, *more).error


@pytest.mark.parametrize("name", ["risk", "causal-risk"])
def test_a_shipped_risk_speaks_of_object_words_alone(run, scene, name):
    found = json.loads(ask(run, scene, "--detector", name, "--json").out)
    judged = [
        token.strip()
        for token, value in zip(found["tokens"], found["detectors"][name], strict=True)
        if value is not None
    ]
    assert judged
    assert set(judged) <= {*CLASSES, *PLURALS.values()}
    assert all(0 <= value <= 1 for value in found["detectors"][name] if value is not None)
    refused = run("explain", "--image", scene, *ASKED, "--model", "somewhere/else", "--detector", name)
    assert refused.status == 2
    assert "no risk model ships with somewhere/else" in refused.err
