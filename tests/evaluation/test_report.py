"""Summaries and comparisons: what they say, and that they need nothing but themselves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from math import nan

import pytest

from lvlm_saliency.errors import InputError
from lvlm_saliency.evaluation import evaluate, report
from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.pages import svg
from lvlm_saliency.pages.figures import interval, number, reading, verdict


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """Two finished runs on the same pictures, under different seeds."""
    from lvlm_saliency.evaluation import Settings

    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("first", 0), ("second", 1)):
        chosen = Settings(
            model="tiny", benchmarks=["scenes-caption", "scenes-pope:n=1"], methods=["sgrs"], out=folder / name,
            n=3, seed=seed, max_new_tokens=4, resamples=40,
        )  # fmt: skip
        evaluate(chosen, model=tiny[0], processor=tiny[1])
    return folder / "first", folder / "second"


def test_the_summary_shows_what_the_field_leaves_out(runs):
    text = (runs[0] / "summary.md").read_text()
    head = next(line for line in text.splitlines() if line.startswith("| system | CHAIR"))
    for column in ("CHAIR\\_s", "CHAIR\\_i", "recall", "length", "ms/token", "fwd/token", "peak memory", "skipped"):
        assert column in head
    assert "yes ratio" in text
    assert "### scenes-caption: difference to greedy" in text
    assert "### scenes-caption: at the same length" in text
    for kind in ("random", "popular", "adversarial"):
        assert f"### scenes-pope, {kind}" in text
    for label in ("greedy", "sample", "sgrs"):
        assert f"| {label} |" in text
    assert "torch" in text
    assert "seed 0" in text


def test_greedy_takes_one_pass_per_token_and_sgrs_looks_back(runs):
    from lvlm_saliency.evaluation.folder import RunFolder
    from lvlm_saliency.evaluation.summary.content import RunData

    run = RunData(RunFolder(runs[0]))
    plain, gated = (run.cost("scenes-caption", label) for label in ("greedy", "sgrs"))
    assert plain["forwards_per_token"] == 1
    assert plain["backwards_per_token"] == 0
    assert gated["backwards_per_token"] > 0
    assert plain["seconds_per_token"] > 0
    assert plain["peak_bytes"] > 2**20


def test_what_captions_say_of_objects_has_its_own_table(runs):
    text = (runs[0] / "summary.md").read_text()
    assert "### scenes-caption, statements" in text
    head = next(line for line in text.splitlines() if line.startswith("| system | false statements"))
    for column in (
        "absent object",
        "wrong number",
        "wrong colour",
        "wrong place",
        "wrong relation",
        "introduced again",
    ):
        assert column in head
    assert "### scenes-caption, statements: at the same length" in text
    assert "### scenes-caption: lengths shuffled over pictures" in text


def test_a_run_scored_before_statements_were_read_still_opens(runs, tmp_path):
    """As `evaluate` wrote it then: no part for statements, no shuffled lengths."""
    folder = tmp_path / "before"
    shutil.copytree(runs[0], folder)
    scores = json.loads((folder / "scores.json").read_text())
    for held in scores["benchmarks"].values():
        del held["length_shuffled"]
        for parts in (held["parts"], held["against_greedy"], *held["length_matched"].values()):
            parts.pop("statements", None)
    (folder / "scores.json").write_text(json.dumps(scores))
    for file in (folder / "details/scenes-caption").glob("*.json"):
        detail = json.loads(file.read_text())
        del detail["statements"]
        file.write_text(json.dumps(detail))
    text = report([folder]).markdown()
    assert "### scenes-caption: at the same length" in text
    assert "statements" not in text
    assert "shuffled" not in text
    beside = report([folder, runs[1]])
    assert "statements" in beside.markdown()
    assert "before: greedy" in beside.html()


class Links(HTMLParser):
    """Every address and element that a page asks for."""

    def __init__(self):
        super().__init__()
        self.addresses, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]


def test_the_page_is_whole_and_offline(runs):
    page = (runs[0] / "summary.html").read_text()
    links = Links()
    links.feed(page)
    assert links.addresses == []
    assert not {"script", "link", "iframe", "img"} & set(links.tags)
    assert "@import" not in page
    assert "url(" not in page
    assert links.tags.count("svg") >= 4
    assert not re.search(r"\bnan\b", page)


def test_runs_are_compared_on_the_pictures_they_share(runs):
    compared = report(runs)
    text = compared.markdown()
    assert "first: greedy" in text
    assert "second: sgrs" in text
    assert "scenes-caption, captions: between runs" in text
    rows = [line for line in text.splitlines() if line.startswith("| greedy: second − first")]
    assert rows
    assert all("0.0 <sub>[0.0, 0.0]</sub>" in row for row in rows)  # the seed does not touch greedy decoding
    assert "<table " in compared.html()


def test_runs_on_other_pictures_are_named_not_compared(runs, tiny, tmp_path):
    from lvlm_saliency.evaluation import Settings

    other = Settings(
        model="tiny", benchmarks=["scenes-caption:seed=7"], out=tmp_path / "other", n=3, max_new_tokens=4, resamples=40
    )
    evaluate(other, model=tiny[0], processor=tiny[1])
    text = report([runs[0], other.out]).markdown()
    assert "Not compared, because their pictures or settings of the benchmark differ: other" in text
    assert "other − first" not in text


def test_folders_that_cannot_be_reported_on_are_named(runs, tmp_path):
    with pytest.raises(InputError, match=r"scores\.json is missing"):
        report([tmp_path])
    with pytest.raises(InputError, match="two runs are named first"):
        report([runs[0], runs[0]])


CHAIR = FIGURES["CHAIR_s"]


def difference(low, high):
    return {"difference": (low + high) / 2, "interval": [low, high]}


DOWN, UP, NONE = difference(-0.2, -0.1), difference(0.1, 0.2), difference(-0.1, 0.1)


def test_verdicts_follow_the_interval_and_the_direction():
    assert verdict(CHAIR, DOWN) == "better"
    assert verdict(FIGURES["recall"], DOWN) == "worse"
    assert verdict(FIGURES["yes_ratio"], UP) == "changed"
    assert verdict(CHAIR, NONE) == verdict(CHAIR, difference(nan, nan)) == verdict(CHAIR, None) == ""


def test_readings_say_when_a_gain_is_only_shortness():
    assert reading(CHAIR, DOWN, DOWN, shorter=True) == "better, also at the same length"
    assert reading(CHAIR, DOWN, NONE, shorter=True) == "only shorter"
    assert reading(CHAIR, DOWN, UP, shorter=True).startswith("only shorter: worse")
    assert reading(CHAIR, DOWN, NONE, shorter=False) == "better, but not shown at the same length"
    assert reading(CHAIR, UP, NONE, shorter=True) == "worse"
    assert reading(CHAIR, NONE, UP, shorter=True) == "worse at the same length"
    assert reading(CHAIR, NONE, NONE, shorter=False) == "no difference shown"


def test_many_systems_are_read_together(tiny, tmp_path, runs):
    from lvlm_saliency.evaluation import Settings
    from lvlm_saliency.evaluation.folder import RunFolder
    from lvlm_saliency.evaluation.summary.content import RunData
    from lvlm_saliency.evaluation.summary.together import together_table

    assert together_table(RunData(RunFolder(runs[0])), "scenes-caption", "captions") is None, "two comparisons"
    chosen = Settings(
        model="tiny", benchmarks=["scenes-pope"], methods=["locore", "farsight"], out=tmp_path / "many", n=3,
        max_new_tokens=2, resamples=100,
    )  # fmt: skip
    evaluate(chosen, model=tiny[0], processor=tiny[1])
    run = RunData(RunFolder(tmp_path / "many"))
    found = together_table(run, "scenes-pope", "all")
    assert found.head[1] == "of 3 leave 0 out"
    assert found.head[3] == "and with 98.33% intervals"
    assert "0.2 would leave 0 out by chance" in found.note
    assert "3,000 resamples" in found.note
    for _, count, alone, together in found.rows:
        assert (count.text == "0") == (alone.text == "none")
        named = set(re.findall(r"[\w+]+(?=,|;|$)", together.text)) - {"none"}
        assert named <= set(re.findall(r"[\w+]+(?=,|;|$)", alone.text)), "a wider interval leaves 0 out more rarely"
    summary = (tmp_path / "many/summary.md").read_text()
    assert "### scenes-pope: all systems at once" in summary
    assert "### scenes-pope, adversarial: all systems at once" in summary
    run.scores["bootstrap"]["resamples"] = 0
    assert together_table(run, "scenes-pope", "all") is None


def test_numbers_are_percentages_with_a_true_minus():
    assert number(CHAIR, 0.3471) == "34.7"
    assert number(CHAIR, -0.0123, sign=True) == "−1.2"
    assert number(CHAIR, 0.0123, sign=True) == "+1.2"
    assert number(CHAIR, -0.0001, sign=True) == "0.0"
    assert number(FIGURES["length"], 44.36) == "44.4"
    assert number(CHAIR, None) == number(CHAIR, nan) == "–"
    assert interval(CHAIR, [0.1, 0.2]) == "[10.0, 20.0]"
    assert interval(CHAIR, [None, 0.2]) == ""


def test_plots_leave_out_what_is_undefined():
    drawn = svg.forest("t", ["a<b", "c"], [("CHAIR_s", [[svg.Mark(1, 0, 2)], [svg.Mark(nan, nan, nan)]])])
    assert drawn.count("<circle") == 1
    assert "a&lt;b" in drawn
    assert svg.scatter("t", "x", "y", [svg.Point("a", (nan, 1, 2), (1, 2, 3))]) == ""
    assert svg.scatter("t", "x", "y", [svg.Point("a", (1, 1, 1), (2, 2, 2))]).count("<circle") == 1
    assert "0.0 ms" in svg.bars("t", "ms", [("a", 0.0)])


@pytest.mark.parametrize("first", ["lvlm_saliency.evaluation.summary.content", "lvlm_saliency.evaluation.runner"])
def test_the_function_report_is_not_hidden_by_the_package_of_its_name(first):
    code = f"import {first}; from lvlm_saliency.evaluation import report; assert callable(report)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_method_at_several_thresholds_is_a_curve():
    from types import SimpleNamespace

    from lvlm_saliency.evaluation.summary.content import Row
    from lvlm_saliency.evaluation.summary.plots import setting_of, sweeps

    records = {
        "greedy": [],
        "g": [{"name": "g", "threshold": None, "recall_loss": 0.01, "ask": True}],
        "g:recall_loss=0.05": [{"name": "g", "threshold": None, "recall_loss": 0.05, "ask": True}],
        "g:recall_loss=0.002": [{"name": "g", "threshold": None, "recall_loss": 0.002, "ask": True}],
        "g:ask=false": [{"name": "g", "threshold": None, "recall_loss": 0.01, "ask": False}],
    }
    run = SimpleNamespace(name="run", config={"systems": records})
    (curve,) = sweeps([Row(run, label, False) for label in records])
    assert [row.label for row in curve] == ["g:recall_loss=0.05", "g", "g:recall_loss=0.002"]
    assert [setting_of(row) for row in curve] == ["recall_loss=0.05", "g", "recall_loss=0.002"]


def test_joined_points_are_drawn_in_their_order():
    points = [svg.Point(name, (x, x, x), (y, y, y)) for name, x, y in (("a", 1, 3), ("b", 3, 1), ("c", 2, 2))]
    drawn = svg.scatter("t", "x", "y", points, [[points[0], points[2], points[1]]])
    (line,) = re.findall(r'<polyline class="range" fill="none" points="([^"]*)"', drawn)
    across = [float(corner.split(",")[0]) for corner in line.split()]
    assert across == sorted(across)
    assert len(across) == 3
