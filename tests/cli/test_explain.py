"""`explain` on the shipped model: words, numbers, files, and every wrong input in one line."""

from __future__ import annotations

import json

import pytest
from PIL import Image

import lvlm_saliency as ls
from zoo import FAMILIES

from .conftest import Result

SHORT = ("--max-new-tokens", 6)


def ask(run, picture, *more) -> Result:
    return run("explain", "--image", picture, "--prompt", "Describe the image.", *SHORT, *more)


def test_prints_words_bars_and_a_legend(run, picture):
    result = ask(run, picture)
    assert result.status == 0
    assert result.err == ""
    words, bars, legend = result.out.splitlines()[:3]
    assert len(words.split()) >= 4
    assert set(bars) <= set(" \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588")
    assert "saliency on output" in legend


def test_json_equals_the_python_face(run, picture):
    result = ask(run, picture, "--json")
    found = json.loads(result.out)
    assert result.err == ""
    model, processor = ls.load_model("scenes")
    inputs = ls.build_inputs(processor, [ls.open_image(picture)], "Describe the image.", model=model)
    trace = ls.trace(model, inputs, model.generate(**inputs, max_new_tokens=6, do_sample=False))
    assert found["token_ids"] == trace.token_ids[0].tolist()
    assert found["scores"]["output"][1:] == pytest.approx(trace.scores("output")[0, 1:].tolist(), rel=1e-4)
    assert found["scores"]["output"][0] is None
    assert found["falls"][0] is False
    assert found["tokens"] == trace.tokens(processor)[0]


def test_same_seed_same_json(run, picture):
    sampled = ("--temperature", 1, "--seed", 5, "--json")
    first, second = (json.loads(ask(run, picture, *sampled).out) for _ in range(2))
    assert first["token_ids"] == second["token_ids"]


def test_given_text_is_explained(run, picture):
    found = json.loads(ask(run, picture, "--text", "There is a dog.", "--json").out)
    assert found["text"] == "There is a dog."
    assert len(found["scores"]["image"]) == len(found["tokens"])
    assert "cost" not in found


def test_layers_and_region_are_honoured(run, picture):
    found = json.loads(ask(run, picture, "--layers", "1+3", "--region", "image", "--json").out)
    assert found["layers"] == [1, 3]
    assert found["region"] == "image"


def test_methods_act_in_answer_and_trace(run, picture):
    plain = json.loads(ask(run, picture, "--json").out)
    strong = json.loads(ask(run, picture, "--method", "locore:beta=3", "--json").out)
    neutral = json.loads(ask(run, picture, "--method", "locore:beta=0", "--json").out)
    assert neutral["scores"] == plain["scores"]
    assert strong["scores"] != plain["scores"]
    assert strong["methods"][0]["beta"] == 3


def test_writes_every_file_and_says_so(run, picture, tmp_path):
    files = [tmp_path / "new" / name for name in ("page.html", "map.png", "trace.safetensors")]
    result = ask(run, picture, "--html", files[0], "--png", files[1], "--save", files[2])
    assert result.status == 0
    assert result.err.splitlines() == [f"wrote {path}" for path in files]
    assert "data:image/png" in files[0].read_text()
    with Image.open(files[1]) as figure:
        assert figure.format == "PNG"
    assert ls.SaliencyTrace.load(files[2]).rows.shape[2] <= 6


def test_token_figure(run, picture, tmp_path):
    assert ask(run, picture, "--png", tmp_path / "t.svg", "--token", 2).status == 0
    assert (tmp_path / "t.svg").read_text().startswith("<?xml")


def test_text_model_needs_no_picture(run):
    result = run("explain", "--model", FAMILIES["llama"].folder(), "--prompt", "a b", *SHORT, "--json")
    assert result.status == 0, result.err
    assert set(json.loads(result.out)["scores"]["image"]) == {None}


def bad_picture(folder, kind):
    path = folder / f"{kind}.png"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no picture")
    elif kind == "truncated":
        Image.effect_noise((90, 90), 50).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "animated":
        first = Image.new("L", (8, 8))
        first.save(path, save_all=True, append_images=[Image.new("L", (8, 8), 255)])
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated", "animated", "folder"])
def test_bad_pictures(run, tmp_path, kind):
    result = ask(run, bad_picture(tmp_path, kind))
    assert result.status == 2
    assert kind in result.error


def test_frame_of_an_animation(run, tmp_path):
    assert ask(run, bad_picture(tmp_path, "animated"), "--frame", 1).status == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--prompt", " "], "prompt is empty"),
        (["--prompt", "<image> and <image>"], "image"),
        (["--prompt", "word " * 5000], "prompt"),
        (["--model", "/no/such/folder"], "/no/such/folder"),
        (["--method", "sgrz"], "did you mean 'sgrs'"),
        (["--method", "sgrs:alpa=1"], "did you mean 'alpha'"),
        (["--method", "sgrs:top_k=0"], "top_k must be"),
        (["--method", "locore", "--method", "locore"], "twice"),
        (["--layers", "99"], "99"),
        (["--layers", "x"], "cannot read layers"),
        (["--device", "nonsense"], "nonsense"),
        (["--text", " "], "text to explain is empty"),
        (["--text", "a", "--temperature", "1"], "--text"),
        (["--temperature", "0", "--top-p", "0.9"], "--top-p"),
        (["--token", "1"], "--png"),
        (["--png", "figure.bmp"], ".png"),
        (["--html", "/proc/nowhere/page.html"], "cannot write"),
    ],
)
def test_wrong_input_is_one_line_and_status_two(run, picture, more, words):
    result = ask(run, picture, *more)
    assert result.status == 2
    assert words in result.error


def test_folder_without_a_model(run, picture, tmp_path):
    (tmp_path / "model").mkdir()
    result = ask(run, picture, "--model", tmp_path / "model")
    assert result.status == 2
    assert "model" in result.error


def test_unwritable_place_is_noticed_before_the_model_is_loaded(run, picture, tmp_path, monkeypatch):
    monkeypatch.setattr("lvlm_saliency.cli.session.begin", lambda *_: pytest.fail("the model was loaded"))
    (tmp_path / "file").touch()
    result = ask(run, picture, "--html", tmp_path / "file" / "page.html")
    assert result.status == 2
    assert "cannot write" in result.error


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("There is a zebra and a dog.", "does not have 'zebra', so the model cannot have written this text"),
        ("Über-Zebra \u732b.", "the model's tokenizer does not have"),
        ("There is <image> a dog.", "'<image>' is a special token, not text"),
        ("There is a </s> dog.", "'</s>' is a special token, not text"),
    ],
)
def test_words_that_the_tokenizer_does_not_have_are_named(run, picture, text, line):
    result = ask(run, picture, "--text", text)
    assert result.status == 2
    assert line in result.error


def test_a_text_may_bring_its_end(run, picture):
    found = json.loads(ask(run, picture, "--text", "There is a dog.</s>", "--json").out)
    assert found["text"] == "There is a dog."
