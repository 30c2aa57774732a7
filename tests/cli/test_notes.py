"""What a user is told beside an answer: no picture, a foreign picture, a text that was cut off; each in its place."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

import lvlm_saliency as ls
from lvlm_saliency.cli.notes import NO_PICTURE
from lvlm_saliency.model.cut_off import LEGEND, finish
from lvlm_saliency.scenes import draw_scene, generate_scenes
from lvlm_saliency.scenes.recognise import NOT_A_SCENE, is_scene

ASKED = ("--prompt", "Describe the image.", "--max-new-tokens", 6)


@pytest.fixture
def photograph(tmp_path):
    """Smooth shapes under grain, saved as a camera saves them."""
    y, x = np.mgrid[:240, :320]
    grain = np.random.default_rng(0).normal(0, 8, x.shape)
    colours = [128 + 90 * np.sin(x / 40 + y / 90) + grain, 110 + 70 * np.cos(y / 31), 60 + y / 2 + grain]
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.stack(colours, -1).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def notes(result):
    return [line.removeprefix("note: ") for line in result.err.splitlines() if line.startswith("note: ")]


def test_every_drawing_is_known_scaled_and_compressed_too():
    for scene in generate_scenes(60, seed=11):
        drawn = draw_scene(scene)
        assert is_scene(drawn)
        packed = io.BytesIO()
        drawn.resize((400, 400)).save(packed, "JPEG", quality=80)
        assert is_scene(Image.open(packed))


def test_other_pictures_are_not(photograph):
    rng = np.random.default_rng(3)
    assert not is_scene(Image.open(photograph))
    assert not is_scene(Image.new("RGB", (256, 256), "white"))
    assert not is_scene(Image.new("L", (256, 256), 0))
    assert not is_scene(Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)))


@pytest.mark.parametrize("command", ["generate", "explain"])
def test_shipped_model_says_once_that_it_knows_drawings_only(run, picture, photograph, command):
    assert notes(run(command, "--image", picture, *ASKED)) == []
    assert notes(run(command, "--image", picture, "--image", photograph, *ASKED)) == [NOT_A_SCENE]
    assert notes(run(command, "--image", photograph, *ASKED)) == []  # once a process


@pytest.mark.parametrize("more", [("generate",), ("explain",), ("explain", "--text", "A red cup.")])
def test_no_picture_is_said_and_json_stays_json(run, more):
    command, *rest = more
    options = ASKED[:2] if rest else ASKED
    result = run(command, *options, *rest, "--json")
    assert result.status == 0
    assert notes(result) == [NO_PICTURE]
    json.loads(result.out)


def test_a_cut_text_is_marked_everywhere(run, picture):
    asked = ("--image", picture, *ASKED)
    assert json.loads(run("generate", *asked, "--json").out)["runs"][0]["finish"] == "length"
    assert json.loads(run("explain", *asked, "--json").out)["finish"] == "length"
    streamed = run("generate", *asked)
    assert "[cut]" not in streamed.out
    assert streamed.err.startswith(LEGEND)
    for result in (run("explain", *asked), run("generate", *asked, "--explain"), run("generate", *asked, "--compare")):
        assert "[cut]" in result.out
        assert result.out.count(LEGEND) == 1


def test_a_finished_or_given_text_is_not(run, picture):
    asked = ("--image", picture, "--prompt", "Describe the image.", "--max-new-tokens", 128)
    found = json.loads(run("explain", *asked, "--json").out)
    assert found["finish"] == "stop"
    assert "[cut]" not in run("explain", *asked).out
    assert run("generate", *asked).err == ""
    given = ("--image", picture, "--prompt", "Describe the image.", "--text", "A red cup.")
    assert json.loads(run("explain", *given, "--json").out)["finish"] is None


def test_page_of_a_cut_text_with_risk(run, picture, tmp_path):
    page = tmp_path / "page.html"
    assert run("explain", "--image", picture, *ASKED, "--risk", "--html", page).status == 0
    data = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
    assert data["cases"][0]["runs"][0]["cut"] is True
    assert data["cases"][0]["runs"][0]["risk"] is not None


def test_finish_is_told_from_the_last_token_and_the_limit():
    assert finish([5, 6, 3], {3}, 3) == "stop"
    assert finish([5, 6, 7], {3}, 3) == "length"
    assert finish([5, 6], {3}, 3) == "stop"  # ended by other means than a token


def test_generate_itself_says_nothing(capsys, photograph):
    model, processor = ls.load_model("scenes")
    inputs = ls.build_inputs(processor, [], "Describe the image.", model=model)
    ls.generate(model, inputs, max_new_tokens=2)
    assert capsys.readouterr() == ("", "")
