"""Finished studies become documents: pages and figures, and an index with every verdict."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import pytest

from lvlm_saliency.studies import STUDIES
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Finding, Page

SCRIPT = Path(__file__).parents[2] / "docs/publish_studies.py"


@pytest.fixture
def publish(monkeypatch):
    """`publish("--source", ...)`: the script's main."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    spec = importlib.util.spec_from_file_location("publish_studies", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["publish_studies.py", *map(str, arguments)])
        script.main()

    return run


def study(folder: Path, title: str, *findings: Finding) -> None:
    """A finished study with a figure, a preset and data."""
    setup = {"model": "scenes", "machine": "two cores", "torch": "2.13"}
    page = Page(title, "The paper.", findings, [], setup, command=f"lvlm-saliency study {folder.name}")
    page.data["rows"] = [{"a": 1}]
    page.files["preset.yaml"] = "format: 1\n"
    page.write(folder)
    (folder / "map.png").write_bytes(b"PNG")
    (folder / "map.svg").write_bytes(b"SVG")


def test_pages_figures_and_every_verdict_are_published_and_nothing_else(publish, tmp_path):
    source, out = tmp_path / "runs", tmp_path / "docs"
    study(source / "tune", "Tuning | all", Finding(HOLDS, "CHAIR_s < 3"), Finding(CANNOT_TELL, "Nobody knows."))
    study(source / "separation", "Apart", Finding(FAILS, "They do not differ."))
    (source / "kept").mkdir()
    publish("--source", source, "--out", out)
    assert {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()} == {
        "README.md",
        *(
            f"{name}/{file}"
            for name in ("tune", "separation")
            for file in ("page.md", "map.png", "preset.yaml", "findings.json")
        ),
    }
    text = (out / "README.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines.index("- ✗ **does not hold**: They do not differ.") < lines.index("- ✓ **holds**: CHAIR\\_s &lt; 3")
    assert "- ? **cannot tell**: Nobody knows." in lines
    assert "## [Tuning \\| all](tune/page.md)" in lines
    assert "lvlm-saliency study separation" in lines
    assert text.count("machine: two cores; torch: 2.13") == 1


def test_figures_of_an_earlier_run_do_not_stay(publish, tmp_path):
    source, out = tmp_path / "runs", tmp_path / "docs"
    study(source / "tune", "Tuning", Finding(HOLDS, "Yes."))
    publish("--source", source, "--out", out)
    (source / "tune/map.png").rename(source / "tune/other.png")
    publish("--source", source, "--out", out)
    assert [file.name for file in sorted((out / "tune").iterdir())] == [
        "findings.json",
        "other.png",
        "page.md",
        "preset.yaml",
    ]


def test_a_study_of_an_earlier_run_stays_with_its_own_date(publish, tmp_path):
    out, long_ago = tmp_path / "docs", 1_000_000_000  # 2001-09-09
    study(tmp_path / "first/tune", "Tuning", Finding(HOLDS, "It helps."))
    study(tmp_path / "first/decay", "Decay", Finding(HOLDS, "Old words."))
    for name in ("tune", "decay"):
        os.utime(tmp_path / "first" / name / "findings.json", (long_ago, long_ago))
    publish("--source", tmp_path / "first", "--out", out)
    study(tmp_path / "second/decay", "Decay", Finding(FAILS, "New words."))
    publish("--source", tmp_path / "second", "--out", out)
    text = (out / "README.md").read_text(encoding="utf-8")
    assert text.index("New words.") < text.index("It helps.")
    assert "Old words." not in text
    assert text.count("\ntune: 2001-09-09; model: scenes; machine: two cores") == 1
    assert text.count("; machine: two cores") == 2
    assert (out / "tune/page.md").exists()


def test_it_is_said_where_studies_are_of_older_weights(publish, tmp_path):
    out = tmp_path / "docs"
    for name, weights, day in (("tune", "aaaa", 1_000_000_000), ("decay", "bbbb", 1_100_000_000)):
        study(tmp_path / "runs" / name, name, Finding(HOLDS, "Yes."))
        file = tmp_path / "runs" / name / "findings.json"
        made = json.loads(file.read_text())
        made["setup"]["weights"] = weights
        file.write_text(json.dumps(made))
        os.utime(file, (day, day))
        publish("--source", tmp_path / "runs", "--out", out)
        said = "**Which weights.** tune: measured on weights from before" in (out / "README.md").read_text()
        assert said == (name == "decay")


def test_weights_of_another_model_are_not_older_ones(publish, tmp_path):
    out = tmp_path / "docs"
    for name, model in (("tune", "scenes"), ("factual", "another")):
        study(tmp_path / "runs" / name, name, Finding(HOLDS, "Yes."))
        file = tmp_path / "runs" / name / "findings.json"
        made = json.loads(file.read_text())
        made["setup"] |= {"model": model, "weights": model}
        file.write_text(json.dumps(made))
    publish("--source", tmp_path / "runs", "--out", out)
    text = (out / "README.md").read_text()
    assert "Which weights" not in text
    assert "model: another; weights: another" in text


def test_no_finished_study_is_an_error(publish, tmp_path):
    with pytest.raises(SystemExit, match="no finished study"):
        publish("--source", tmp_path, "--out", tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


def test_the_guide_names_every_study():
    guide = (SCRIPT.parent / "studies.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE)) >= set(STUDIES)


def test_the_first_finding_of_each_study_stands_between_its_marks_in_the_summary(publish, tmp_path):
    source, summary = tmp_path / "runs", tmp_path / "results.md"
    study(source / "separation", "Do they?", Finding(FAILS, "They do not."), Finding(HOLDS, "Second."))
    summary.write_text("before\n<!-- studies -->\noutdated\n<!-- end of studies -->\nafter\n")
    publish("--source", source, "--out", tmp_path / "docs", "--summary", summary)
    text = summary.read_text()
    assert text.startswith("before\n<!-- studies -->\n- [Do they?](docs/separation/page.md) ✗ **does not hold**: ")
    assert "They do not." in text
    assert "Second." not in text
    assert "outdated" not in text
    assert text.endswith("<!-- end of studies -->\nafter\n")
    summary.write_text("no marks")
    with pytest.raises(SystemExit, match="does not hold"):
        publish("--source", source, "--out", tmp_path / "docs", "--summary", summary)


def test_the_table_of_detectors_stands_in_their_page_too(publish, tmp_path):
    source, out = tmp_path / "runs", tmp_path / "docs/studies"
    study(source / "detectors", "Detectors", Finding(HOLDS, "Yes."))
    row = "| svar | P | 0 | 27 (1.2) | 0.874 [0.857, 0.891] | 0.842 [0.818, 0.865] | b | c | d | e | f | g |"
    table = f"## The table\n\n![Forest.](forest.png)\n\n| a |\n|---|\n| 1 |\n\n{row}\n\n## Ours\n\nMore.\n"
    (source / "detectors/page.md").write_text(f"# Detectors\n\n{table}", encoding="utf-8")
    page = tmp_path / "docs/detectors.md"
    page.parent.mkdir()
    marks = "<!-- table -->\nold\n<!-- end of table -->\n<!-- needs -->\nold\n<!-- end of needs -->\n"
    page.write_text(f"Before.\n{marks}After.\n", encoding="utf-8")
    publish("--source", source, "--out", out, "--detectors", page)
    text = page.read_text(encoding="utf-8")
    assert "![Forest.](studies/detectors/forest.png)\n\n| a |\n|---|\n| 1 |\n\n| svar" in text
    assert "`lvlm-saliency study detectors`" in text
    assert text.startswith("Before.\n<!-- table -->\n")
    assert text.endswith("\n<!-- end of needs -->\nAfter.\n")
    assert "| `svar` | arXiv 2411.16724 | attention | none | none | yes | 1.2 | 0.842 |" in text
    assert "| `probe` | arXiv 2304.13734 | hidden states of the text | none | on labelled words | yes | – | – |" in text
    assert "old" not in text
    assert "More." not in text
