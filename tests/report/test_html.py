"""The page as text: one file, nothing from outside, nothing that could break out of its place."""

from __future__ import annotations

import base64
import json
import re
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import InputError
from lvlm_saliency.report.content import Case, Report, Table, run_of
from lvlm_saliency.report.falls import falls
from lvlm_saliency.report.html import fragment, render_html, script_json, write_trace
from lvlm_saliency.report.page import REGIONS, page_data

from .fabricated import fabricated, layout, picture

EVIL = "</script><img src=x onerror=alert(1)>&<!--\u2028"


def page(words=None, **options):
    trace, tokenizer = fabricated(words)
    case = Case("title", [run_of(trace, tokenizer, name="run", layouts=[layout()])], images=[picture()], **options)
    return trace, Report("title", [case])


class Attributes(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [(tag, name, value) for name, value in attrs]


def test_no_address_is_loaded():
    _, report = page()
    parser = Attributes()
    text = render_html(report)
    parser.feed(text)
    for _, name, value in parser.found:
        if name in ("src", "href"):
            assert value.startswith("data:")
    assert not re.search(r"url\(\s*['\"]?(?!data:)|@import|\bfetch\(|XMLHttpRequest|WebSocket", text)
    assert "default-src 'none'" in text


def test_text_of_every_kind_is_escaped():
    _, report = page([EVIL, "fine"], prompt=EVIL, note=EVIL)
    report = Report(EVIL, report.cases, lead=EVIL, tables=[Table(EVIL, [EVIL], [[EVIL]], EVIL)])
    text = render_html(report)
    assert "<img src=x" not in text
    assert text.count("</script>") == 2
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert data["cases"][0]["runs"][0]["tokens"][0] == EVIL


def test_json_in_a_script_has_no_character_that_ends_it():
    assert not set("<>&\u2028\u2029") & set(script_json([EVIL, "\u2029"]))
    assert json.loads(script_json([EVIL])) == [EVIL]


def test_scores_travel_exactly():
    trace, report = page()
    run = page_data(report)["cases"][0]["runs"][0]
    scores = np.frombuffer(base64.b64decode(run["packed"]["scores"]), "<f4")
    scores = scores.reshape(2, len(REGIONS), len(run["views"]), trace.rows.shape[2])
    for at, region in enumerate(REGIONS):
        assert np.array_equal(scores[0, at, 0], trace.scores(region)[0].numpy(), equal_nan=True)
        assert np.array_equal(scores[1, at, 2], trace.attention_scores(region, [1])[0].numpy(), equal_nan=True)


def test_spans_cover_every_position_once():
    trace, report = page()
    spans = page_data(report)["cases"][0]["runs"][0]["spans"]
    assert [region for _, _, region in spans] == ["system", "image", "prompt", "output"]
    assert sum(end - first for first, end, _ in spans) == trace.sequences.shape[1]


def test_a_small_budget_groups_layers():
    _, report = page()
    views = page_data(report, budget=40_000)["cases"][0]["runs"][0]["views"]
    assert views == ["mean of all", "0\u20131", "2\u20133"]
    assert page_data(report, budget=1)["cases"][0]["runs"][0]["views"] == ["mean of all"]


def test_same_trace_same_bytes(tmp_path):
    _, report = page()
    assert render_html(report) == render_html(report)


def test_to_html_of_a_batch_has_one_section_per_sample(tmp_path):
    trace, tokenizer = fabricated(batch=2)
    trace.valid[1, 7:] = False
    trace.logprobs[1, 7:] = torch.nan
    pictures, places = [[picture()], [picture()]], [[layout()], [layout()]]
    trace.to_html(tmp_path / "a.html", processor=tokenizer, images=pictures, layouts=places)
    data = json.loads((tmp_path / "a.html").read_text().split('id="data">')[1].split("</script>")[0])
    assert [len(case["runs"][0]["tokens"]) for case in data["cases"]] == [49, 7]
    trace.to_html(tmp_path / "one.html", processor=tokenizer, sample=1)


def test_pictures_and_samples_must_match(tmp_path):
    trace, tokenizer = fabricated(batch=2)
    with pytest.raises(InputError, match="one list per sample"):
        write_trace(trace, tmp_path / "a.html", tokenizer, images=[[picture()]])
    with pytest.raises(InputError, match="no sample 2"):
        write_trace(trace, tmp_path / "a.html", tokenizer, sample=2)


def test_notebook_view_is_escaped_and_has_no_script():
    trace, tokenizer = fabricated([EVIL, "b", "c"])
    text = fragment(trace, tokenizer)
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;/script&gt;" in text
    assert trace._repr_html_().count("<span") >= 3


def test_notebook_view_marks_falls():
    trace, tokenizer = fabricated()
    fallen = falls(trace.scores("output")[0].tolist())
    assert sum(fallen) > 0
    assert fragment(trace, tokenizer).count("<sup") == sum(fallen)


def test_notebook_view_finds_the_words_of_a_local_model():
    model, processor = ls.load_model("scenes")
    inputs = ls.build_inputs(processor, [picture()], "Describe the image.", model=model)
    trace = ls.trace(model, inputs, model.generate(**inputs, max_new_tokens=5, do_sample=False))
    for word in "".join(trace.tokens(processor)[0]).split():
        assert escape(word) in trace._repr_html_()


def test_page_names_a_models_folder_only(tmp_path):
    trace, tokenizer = fabricated()
    trace.settings["model"] = str(tmp_path / "my-model")
    trace.to_html(tmp_path / "a.html", tokenizer)
    text = (tmp_path / "a.html").read_text()
    assert "Model my-model" in text
    assert str(tmp_path) not in text
