"""Preset files: written, read, taken by every face, and refused in one line when they are something else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.cli import main
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation import Settings, evaluate
from lvlm_saliency.evaluation.systems import system
from lvlm_saliency.interventions.parsing import parse_methods
from lvlm_saliency.interventions.preset_files import Preset, load_preset, model_of, notes
from zoo import FAMILIES

CHOSEN = [ls.SGRS(alpha=0.31, order="greedy", layers=[0, 1]), ls.LocoRE(beta=1.25, window=7)]


@pytest.fixture
def tiny():
    """A tiny LLaVA and its processor."""
    return FAMILIES["llava"].build()


@pytest.fixture
def preset(tmp_path, tiny):
    """A preset file for the tiny model; its name holds what would join methods."""
    path = tmp_path / "best+yet.yaml"
    path.write_text(
        Preset(CHOSEN, {"id": "tiny", **model_of(tiny[0])}, {"date": "2026-01-01"}).text(), encoding="utf-8"
    )
    return path


@given(st.floats(0, 100), st.integers(1, 99), st.sets(st.integers(0, 40), min_size=1) | st.none())
def test_any_setting_survives(beta, window, layers):
    import tempfile
    from pathlib import Path

    method = ls.LocoRE(beta=beta, window=window, layers=layers)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preset.yaml"
        path.write_text(Preset([method], {}, {"note": "é"}).text(), encoding="utf-8")
        assert ls.load_preset(path) == [method]
        assert Preset.read(path).record == {"note": "é"}


def test_it_stands_wherever_a_method_may(preset):
    assert load_preset(preset) == CHOSEN == parse_methods(str(preset))
    assert system(str(preset), 0) == system(CHOSEN, 0)
    assert system([str(preset)], 3).methods[0].seed == 3


def test_generate_and_explain_write_what_its_methods_write(preset, tmp_path, capsys):
    from PIL import Image

    Image.new("RGB", (40, 40), "teal").save(tmp_path / "p.png")
    asked = ["--image", tmp_path / "p.png", "--prompt", "Describe this.", "--model", FAMILIES["llava"].folder()]
    asked += ["--device", "cpu", "--max-new-tokens", 6, "--json"]

    def tokens(command, *methods):
        words = [command, *asked, *(word for spec in methods for word in ("--method", spec))]
        assert main([str(word) for word in words]) == 0
        shown = json.loads(capsys.readouterr().out)
        return (shown["runs"][0] if "runs" in shown else shown)["tokens"]

    written = "sgrs:alpha=0.31,order=greedy,layers=0+1+locore:beta=1.25,window=7"
    plain = tokens("generate")
    for command in ("generate", "explain"):
        assert tokens(command, preset) == tokens(command, written)
    preset.write_text("format: 1\nmethods: {}\n")
    assert tokens("generate", preset) == plain


def test_evaluate_takes_it_from_a_list_and_from_yaml(preset, tmp_path, tiny):
    shared = {"model": "tiny", "benchmarks": ["scenes-caption"], "n": 2, "max_new_tokens": 4, "resamples": 0}
    scores = evaluate(Settings(out=tmp_path / "run", methods=[str(preset)], **shared), model=tiny[0], processor=tiny[1])
    label = system(CHOSEN, 0).label
    assert list(scores["benchmarks"]["scenes-caption"]["answers"]) == ["greedy", "sample", label]
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps({**shared, "model": FAMILIES["llava"].folder(), "methods": [str(preset)]}))
    assert main(["evaluate", "--config", str(config), "--device", "cpu", "--out", str(tmp_path / "again")]) == 0
    held = json.loads((tmp_path / "again/config.json").read_text())
    assert list(held["systems"]) == ["greedy", "sample", label]


def test_another_model_is_told_and_missing_layers_are_refused(preset, tmp_path, tiny):
    assert notes([str(preset), "sgrs", CHOSEN], tiny[0]) == []
    other = tmp_path / "other.yaml"
    other.write_text("format: 1\nmodel: {id: large, type: qwen2_vl, layers: 28}\nmethods: {locore: {layers: [20]}}\n")
    (line,) = notes([str(other)], tiny[0])
    assert "was chosen for large (qwen2_vl of 28 layers), and this model is llava of" in line
    told = []

    class Listener:
        def begin(self, *_):
            pass

        advance = begin

        def note(self, text):
            told.append(text)

    shared = {"model": "tiny", "benchmarks": ["scenes-caption"], "n": 1, "out": tmp_path / "run"}
    with pytest.raises(SettingError, match="choose among the layers with attention"):
        evaluate(Settings(methods=[str(other)], **shared), model=tiny[0], processor=tiny[1], listener=Listener())
    other.write_text(other.read_text().replace("[20]", "[0]"))
    short = {**shared, "max_new_tokens": 2, "resamples": 0}
    evaluate(Settings(methods=[str(other)], **short), model=tiny[0], processor=tiny[1], listener=Listener())
    assert told == [line]


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        ("methods: {locore: {}}\n", InputError, "is no preset: it needs `format: 1`"),
        ("format: 1\n", InputError, "is no preset"),
        ("format: 2\nmethods: {}\n", InputError, "another format than 1"),
        ("format: 1\nmethods: [locore]\n", InputError, "methods must be written as"),
        ("format: 1\nmethods: {locore: 3}\n", InputError, "methods must be written as"),
        ("format: 1\nmodel: scenes\nmethods: {}\n", InputError, "model must be written as"),
        ("format: 1\nmethods: {locor: {}}\n", SettingError, "did you mean 'locore'"),
        ("format: 1\nmethods: {locore: {bta: 1}}\n", SettingError, "did you mean 'beta'"),
        ("format: 1\nmethods: {locore: {beta: -1}}\n", SettingError, "beta must be"),
        ("- locore\n", InputError, "expected a preset"),
        ("a: [\n", InputError, "not YAML"),
        ("\x00", InputError, "not YAML"),
    ],
)
def test_bad_files_are_one_line_that_names_them(tmp_path, content, kind, words):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(kind, match=words) as caught:
        parse_methods(str(path))
    assert "bad.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_a_missing_file():
    with pytest.raises(InputError, match=r"cannot read nowhere\.yaml: No such file"):
        parse_methods("nowhere.yaml")
