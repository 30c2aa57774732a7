"""Files whose seal is right, or that have none, and whose values no program of ours would write: refused by name, or
such that everything that is done with them goes on."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import lvlm_saliency as ls
from lvlm_saliency.chat import saved
from lvlm_saliency.cli.output import plain
from lvlm_saliency.errors import InputError, LvlmSaliencyError
from lvlm_saliency.files.tensors import read_tensors
from lvlm_saliency.guard import setup
from lvlm_saliency.report.console import PlainConsole
from lvlm_saliency.risk.model import SHIPPED
from lvlm_saliency.risk.saved import KEY
from lvlm_saliency.tracing.saved import write_sealed
from strange import strange


@pytest.fixture(scope="module")
def chat():
    return ls.Chat.load("scenes", device="cpu")


@pytest.fixture(scope="module")
def explanation(chat):
    query = ls.Query("Describe the image.", [Image.new("RGB", (64, 64), "red")])
    answers = chat.ask([query], [ls.SGRS(seed=0)], max_new_tokens=6)
    return chat.explain(answers, risk=ls.RiskModel.load(SHIPPED), detectors=["nll"])[0]


def opened(make):
    """What it makes and nothing, or nothing and why it does not."""
    try:
        return make(), ""
    except LvlmSaliencyError as error:
        return None, str(error)


def printed(explanation) -> str:
    out = io.StringIO()
    explanation.show(PlainConsole(file=out, force_terminal=True, width=80))
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


def test_an_explanation_with_strange_values(explanation, tmp_path):
    path = tmp_path / "e.safetensors"
    explanation.save(path)
    arrays, metadata = read_tensors(path, "an explanation")
    refused = 0
    for place, values in strange(json.loads(metadata[saved.KEY]), 0, 1):
        write_sealed(path, arrays, {saved.KEY: json.dumps(values)})
        found, told = opened(lambda: ls.Explanation.load(path))
        if found is None:
            assert path.name in told
            refused += 1
            continue
        assert all(c.isprintable() or c == "\n" for c in printed(found)), place
        assert repr(found).isprintable()
        json.dumps(plain(found.to_dict()), allow_nan=False)
        found.to_html(tmp_path / "e.html")
    assert refused > 20


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("layouts", 0, "width"), float("inf")),
        (("layouts", 0, "height"), -3),
        (("layouts", 0, "tiles", 0, "kind"), "<script>"),
        (("layouts", 0, "tiles", 0, "box", 2), float("nan")),
        (("context", 0, 0), 10**6),
        (("context", 0, 2), "output"),
        (("steps", 0, "draws"), "1"),
        (("steps", 0, "rejected"), 5),
        (("finish"), 7),
        (("risk", "values", 0), "NaN"),
        (("risk", "values", 0), 1.5),
        (("pictures"), 0),
        (("candidates"), {"\u0663": "x"}),
    ],
)
def test_an_explanation_with_a_wrong_value_is_refused(explanation, tmp_path, place, value):
    path = tmp_path / "e.safetensors"
    explanation.save(path)
    arrays, metadata = read_tensors(path, "an explanation")
    told = json.loads(metadata[saved.KEY])
    *above, last = [place] if isinstance(place, str) else place
    node = told
    for key in above:
        node = node[key]
    node[last] = value
    write_sealed(path, arrays, {saved.KEY: json.dumps(told)})
    with pytest.raises(InputError, match=r"e\.safetensors is damaged"):
        ls.Explanation.load(path)


def guard_file() -> tuple[dict[str, np.ndarray], dict]:
    arrays, metadata = read_tensors(setup.SHIPPED, "a risk model")
    head = json.loads(metadata[KEY])
    for mode in head["about"]["guard"]["modes"].values():
        mode["scores"], mode["picture"] = mode["scores"][:5], mode["picture"][:5]
    return arrays, head


def test_a_guards_file_with_strange_values(chat, tmp_path):
    """A calibration is refused as that of this file, or the guard judges by numbers that are risks."""
    arrays, head = guard_file()
    path, refused = tmp_path / "g.safetensors", 0
    for place, values in strange(head, 0, 2):
        write_sealed(path, arrays, {KEY: json.dumps(values)})
        found, told = opened(lambda: setup.set_up(ls.Guard(risk=path), chat.model).judge)
        if found is None:
            assert told
            refused += 1
            continue
        assert 0 <= found.threshold <= 1, place
        assert 0 <= found.risk("dog", 0.3, -1.0) <= 1, place
    assert refused > 50


@pytest.mark.parametrize("pictures", [2**40, 2**70, -1, 1.5, True])
def test_a_calibration_on_more_pictures_than_there_are_takes_no_time(chat, tmp_path, pictures):
    arrays, head = guard_file()
    head["about"]["guard"]["modes"]["both"]["pictures"] = pictures
    write_sealed(tmp_path / "g.safetensors", arrays, {KEY: json.dumps(head)})
    with pytest.raises(InputError, match=r"g\.safetensors: its calibration is damaged"):
        ls.generate(chat.model, {}, [ls.Guard(risk=tmp_path / "g.safetensors")], processor=chat.processor)


def test_a_guards_file_that_was_written_anew_is_read_anew(chat, tmp_path):
    arrays, head = guard_file()
    path = tmp_path / "g.safetensors"
    write_sealed(path, arrays, {KEY: json.dumps(head)})
    before = setup.set_up(ls.Guard(risk=path), chat.model).judge
    head["about"]["guard"]["rates"]["overall"] = 0.5
    write_sealed(path, arrays, {KEY: json.dumps({**head, "about": {**head["about"], "seed": 12345}})})
    after = setup.set_up(ls.Guard(risk=path), chat.model).judge
    assert before.calibration.rates.overall != after.calibration.rates.overall == 0.5


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [(7, None), ({"class": "A"}, None), ({"class": 5, "layers": [0], "width": 1, "words": 1}, None), (None, [0, 99])],
)
def test_a_risk_model_of_an_impossible_model_is_refused(tmp_path, architecture, layers):
    arrays, metadata = read_tensors(SHIPPED, "a risk model")
    head = json.loads(metadata[KEY])
    head["about"]["architecture"] = architecture or head["about"]["architecture"]
    head["layers"] = layers or head["layers"]
    write_sealed(tmp_path / "r.safetensors", arrays, {KEY: json.dumps(head)})
    with pytest.raises(InputError, match=r"r\.safetensors is damaged"):
        ls.RiskModel.load(tmp_path / "r.safetensors")


@pytest.mark.parametrize(
    ("name", "value"),
    [("methods", 3), ("methods", "locore"), ("methods", [1]), ("normalise", "column"), ("normalise", []), ("model", 7)],
)
def test_a_trace_with_settings_that_no_trace_has_is_refused(explanation, tmp_path, name, value):
    path = tmp_path / "t.safetensors"
    explanation.trace.save(path)
    arrays, metadata = read_tensors(path, "a trace")
    about = json.loads(metadata["about"])
    about["settings"][name] = value
    del metadata["sha256"]
    write_sealed(path, arrays, {**metadata, "about": json.dumps(about)})
    with pytest.raises(InputError, match=r"t\.safetensors is damaged"):
        ls.SaliencyTrace.load(path)


def test_what_a_file_says_steers_no_terminal_from_a_repr(explanation, tmp_path):
    path = tmp_path / "t.safetensors"
    explanation.trace.save(path)
    arrays, metadata = read_tensors(path, "a trace")
    about = json.loads(metadata["about"])
    about["settings"] |= {"methods": ["\x1b]0;P\x07"], "model": "\x1b[2J\u202e"}
    del metadata["sha256"]
    write_sealed(path, arrays, {**metadata, "about": json.dumps(about)})
    assert repr(ls.SaliencyTrace.load(path)).isprintable()
