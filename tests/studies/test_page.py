"""A page's files: data, figures, Markdown and HTML."""

from __future__ import annotations

import csv
import json

import pytest
from matplotlib.figure import Figure

from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Cell, Finding, Page, Part, Picture, Table


def made():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2], [3, 1], "o-")
    table = Table("A <table>", ("score", "AUROC | x"), ((Cell("a|b"), Cell("0.5", "0.4 to 0.6", "better")),), "n = 3")
    return Page(
        "Is <it> true?",
        "It is said & written.",
        [Finding(HOLDS, "1 < 2"), Finding(FAILS, "CHAIR_s rose"), Finding(CANNOT_TELL, "who knows")],
        [Part("Part", "Text & more.", [table], [Picture("drawn", "A <caption>", figure)])],
        {"model": "scenes", "n": "3"},
        command="lvlm-saliency study x --out '<y>'",
        data={"rows": [{"a": 1, "b": float("nan")}, {"a": 2, "c": "x,y"}], "none": []},
        files={"preset.yaml": "alpha: 1\n"},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    assert made().write(folder) == folder / "page.html"
    return folder


def test_data(folder):
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert rows == [{"a": 1, "b": None}, {"a": 2, "c": "x,y"}]
    with (folder / "rows.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"a": "1", "b": "", "c": ""}, {"a": "2", "b": "", "c": "x,y"}]
    assert (folder / "none.jsonl").read_text() == ""
    assert (folder / "preset.yaml").read_text() == "alpha: 1\n"


def test_figures_are_the_same_bytes_every_time(folder, tmp_path):
    made().write(tmp_path)
    for name in ("drawn.png", "drawn.svg", "page.html", "page.md"):
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name
    assert (folder / "drawn.png").read_bytes().startswith(b"\x89PNG")
    assert "<dc:date>" not in (folder / "drawn.svg").read_text()


def test_html_holds_everything_and_escapes_it(folder):
    page = (folder / "page.html").read_text()
    for text in (
        "Is &lt;it&gt; true?",
        "1 &lt; 2",
        "It is said &amp; written.",
        "A &lt;caption&gt;",
        "A &lt;table&gt;",
        "&lt;y&gt;",
        "0.4 to 0.6",
    ):
        assert text in page
    for text in ("<it>", "<caption>A", "<y>", "src=", "<script", "<link"):
        assert text not in page
    assert page.count("<svg") == 1
    assert page.index("holds") < page.index("The paper:") < page.index("Part")
    assert [f'<li class="{name}">' in page for name in ("holds", "does", "cannot")] == [True] * 3


def test_markdown(folder):
    page = (folder / "page.md").read_text()
    assert page.startswith("# Is &lt;it> true?\n\n- **holds**: 1 &lt; 2\n- **does not hold**: CHAIR\\_s rose\n")
    assert "![A &lt;caption>](drawn.png)" in page
    assert "| a\\|b | 0.5 ✓ <sub>0.4 to 0.6</sub> |" in page
    assert "lvlm-saliency study x --out '<y>'" in page
