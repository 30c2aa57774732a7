"""`explain --risk`: the shipped model's words coloured by risk, the numbers, the page, and what is refused."""

from __future__ import annotations

import json
import math

import pytest
from rich.console import Console

import lvlm_saliency as ls
from lvlm_saliency.report.risk import print_risk
from lvlm_saliency.risk.model import SHIPPED
from lvlm_saliency.scenes import draw_scene, generate_scenes
from zoo import FAMILIES

ASKED = ("--prompt", "Describe the image.")


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scene.png"
    draw_scene(generate_scenes(1, 7, "test")[0]).save(path)
    return path


def ask(run, picture, *more):
    return run("explain", "--image", picture, *ASKED, *more)


def test_json_equals_the_python_face(run, scene):
    found = json.loads(ask(run, scene, "--risk", "--json").out)
    model, processor = ls.load_model("scenes")
    inputs = ls.build_inputs(processor, [ls.open_image(scene)], ASKED[1], model=model)
    trace = ls.trace(model, inputs, model.generate(**inputs, max_new_tokens=128, do_sample=False))
    risk = ls.RiskModel.load(SHIPPED)
    assert found["risk"] == pytest.approx(risk.predict(trace)[0].tolist(), abs=1e-4)
    objects = [token.strip() for token, known in zip(found["tokens"], found["object_words"], strict=True) if known]
    assert objects
    from lvlm_saliency.scenes.classes import CLASSES, SINGULAR

    assert {SINGULAR.get(word, word) for word in objects} <= set(CLASSES)
    assert found["risk_model"]["model"] == "scenes"


def test_terminal_shows_risk_of_object_words_alone(run, scene):
    result = ask(run, scene, "--risk")
    assert (result.status, result.err) == (0, "")
    assert "risk that the object is not there" in result.out
    assert "highest: " in result.out
    assert "saliency on" not in result.out
    without = ask(run, scene)
    assert "risk" not in without.out


def test_page_holds_the_risk(run, scene, tmp_path):
    assert ask(run, scene, "--risk", "--html", tmp_path / "with.html").status == 0
    assert ask(run, scene, "--html", tmp_path / "unasked.html").status == 0
    assert '"risk":[null' in (tmp_path / "with.html").read_text()
    # A page of the shipped model, which has a risk model, opens coloured by it.
    assert '"risk":[null' in (tmp_path / "unasked.html").read_text()
    other = ask(run, scene, "--model", FAMILIES["llava"].folder(), "--html", tmp_path / "without.html")
    assert other.status == 0
    assert '"risk":null' in (tmp_path / "without.html").read_text()


def test_the_same_file_by_name(run, scene):
    own, named = (json.loads(ask(run, scene, *more, "--json").out) for more in (["--risk"], ["--risk", SHIPPED]))
    assert own["risk"] == named["risk"]


def test_other_weights_are_noted_and_another_architecture_refused(run, scene):
    half = ask(run, scene, "--risk", "--dtype", "bfloat16", "--max-new-tokens", 4)
    assert half.status == 0
    assert half.err.startswith("note: the risk model was trained with other weights")
    other = ask(run, scene, "--model", FAMILIES["llava"].folder(), "--risk", SHIPPED)
    assert other.status == 2
    assert "trained on a LlavaForConditionalGeneration of 6 layers" in other.error


def test_a_model_without_a_risk_model_is_told_how_to_get_one(run, scene):
    result = ask(run, scene, "--model", FAMILIES["llava"].folder(), "--risk")
    assert result.status == 2
    assert "study detect --model" in result.error


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--risk", "nowhere.safetensors"], "does not exist"),
        (["--risk", "--layers", "1+3"], "leaves [0, 2, 4, 5] out"),
        (["--risk", "--normalise", "matrix"], "normalised by row"),
        (["--risk", __file__], "cannot be read"),
    ],
)
def test_wrong_input_is_one_line_and_status_two(run, scene, more, words):
    result = ask(run, scene, *more)
    assert result.status == 2
    assert words in result.error


def printed(risk, **settings) -> str:
    console = Console(width=100, highlight=False, **settings)
    with console.capture() as captured:
        print_risk(console, [" There", " is", " a", " cup", " and", " a", " kite", "."], risk)
    return captured.get()


def test_the_scale_is_fixed_and_the_riskiest_come_first():
    nan = math.nan
    text = printed([nan, nan, nan, 0.02, nan, nan, 0.91, nan], color_system=None)
    words, bars, legend, highest = text.splitlines()
    assert words.split() == ["There", "is", "a", "cup", "and", "a", "kite."]
    assert set(bars[words.index("cup") :][:3]) == {"\u2581"}
    assert set(bars[words.index("kite") :][:4]) == {"\u2587"}
    assert "0 %" in legend
    assert highest == "highest: kite 91% (token 6), cup 2% (token 3)"


def test_colours_deepen_with_the_risk():
    nan = math.nan
    text = printed([nan, nan, nan, 0.0, nan, nan, 1.0, nan], color_system="truecolor", force_terminal=True)
    assert "48;2;238;243;248mcup" in text
    assert "48;2;166;54;3mkite" in text


def test_a_text_without_object_words_says_so():
    assert "no word here is an object word" in printed([math.nan] * 8, color_system=None)
