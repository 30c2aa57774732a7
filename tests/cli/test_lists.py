"""`models`, `methods` and `data`."""

from __future__ import annotations

import json

import pytest

import lvlm_saliency as ls
from lvlm_saliency.cli.blocks import unwrapped
from lvlm_saliency.model.families import FAMILIES


def test_methods_are_those_of_python_with_their_defaults(run):
    found = json.loads(run("methods", "--json").out)
    assert [method["name"] for method in found] == ls.methods()
    sgrs = next(method for method in found if method["name"] == "sgrs")
    assert sgrs["settings"]["alpha"] == ls.SGRS().alpha
    assert all(method["summary"] for method in found)


def test_one_method_is_described_in_full(run):
    result = run("methods", "SGRS")
    assert result.status == 0
    assert "alpha: threshold ratio" in result.out
    assert "locore" not in result.out


HEADS = ["name", "paper", "edits", "cost", "families", "composes with"]


@pytest.mark.parametrize("columns", ["80", "109", "110", "140", "250"])
def test_methods_are_a_table_where_the_width_allows_it(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    lines = [line.rstrip() for line in run("methods").out.splitlines()]
    assert max(map(len, lines)) <= int(columns)
    if int(columns) < 110:
        assert [line for line in lines if line in ls.methods()] == ls.methods()
        for head in HEADS[1:]:
            assert sum(line.startswith(f"  {head} ") for line in lines) == len(ls.methods())
    else:
        assert lines[0].replace("composes with", "composes-with").split() == [*HEADS[:-1], "composes-with"]
        assert [line.split()[0] for line in lines[2:-2] if line[:1].strip()] == ls.methods()
    words = " ".join(" ".join(lines).split())
    assert "arXiv 2311.17911" in words
    assert "lvlm-saliency methods NAME" in words


def test_every_method_fills_every_column(run):
    for method in json.loads(run("methods", "--json").out):
        assert method["changes"]
        assert method["cost"]
        assert method["families"]
        assert method["composes"]
        assert method["paper"] or method["name"] in ("beam", "guard", "sample")


def test_models_lists_families_and_reasons(run):
    result = run("models")
    assert result.status == 0
    assert "scenes (shipped)" in result.out
    assert "refused" in result.out
    families = json.loads(run("models", "--json").out)
    assert {"llava", "qwen2_vl", "gemma3"} <= {family["model_type"] for family in families}


def test_data_alone_lists_what_each_benchmark_needs(run):
    result = run("data")
    assert result.status == 0
    assert {line.split()[0] for line in result.out.splitlines()} >= {"scenes-caption", "chair", "pope", "mme", "amber"}
    assert len(json.loads(run("data", "--json").out)) >= 5


def test_data_scenes_writes_the_same_bytes_again(run, tmp_path):
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        assert run("data", "scenes", "--n", 3, "--seed", 7, "--out", folder).status == 0
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        written.append({path.relative_to(folder): path.read_bytes() for path in files})
    assert written[0] == written[1]
    assert len([path for path in written[0] if path.suffix == ".png"]) == 3


def test_data_scenes_does_not_mix_with_other_files(run, tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    result = run("data", "scenes", "--n", 3, "--out", tmp_path)
    assert result.status == 2
    assert str(tmp_path) in result.error
    assert (tmp_path / "mine.txt").read_text() == "keep me"


@pytest.mark.parametrize("columns", ["60", "80", "179", "180", "250"])
def test_models_can_be_read_at_any_width(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    lines = [line.rstrip() for line in run("models").out.splitlines()]
    assert max(map(len, lines)) <= int(columns)
    words = "".join("".join(lines).split())
    for family in FAMILIES:
        for cell in (family.name, family.model_type, *family.checkpoints, family.refused or family.no_grid):
            assert "".join(cell.split()) in words or int(columns) >= 180, cell
        # Only what is longer than a line's room is folded.
        whole = [one for one in family.checkpoints if len(one) <= int(columns) - 18]
        assert all(any(checkpoint in line for line in lines) for checkpoint in whole)
    if int(columns) < 180:
        titles = [line for line in lines if line and not line.startswith(" ")]
        assert titles[: len(FAMILIES) + 1] == ["scenes (shipped)", *(family.name for family in FAMILIES)]
        assert sum(line.startswith("  LocoRE preset ") for line in lines) == sum(not f.refused for f in FAMILIES)
    else:
        assert "".join(lines[0].split()) == "familymodeltypestateheatmapLocoREpresetSGRSlayerscheckpointsnotes"


def test_a_description_is_wrapped_at_the_terminals_width_and_nowhere_else(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    wide = run("detectors", "svar").out.splitlines()
    assert any(len(line) > 150 for line in wide)
    monkeypatch.setenv("COLUMNS", "60")
    narrow = run("detectors", "svar").out.splitlines()
    assert max(map(len, narrow)) <= 60
    assert "".join("".join(wide).split()) == "".join("".join(narrow).split())
    assert "`[5:19]`" in "".join(wide)  # no markup
    assert "weights" not in run("detectors", "causal-risk").out  # not to be set by anybody


def test_entries_and_paragraphs_stay_apart():
    text = "One\ntwo.\n\nArgs:\n    a: first\n        goes on\n    b: second\n\n- x\n  y\n- z"
    assert unwrapped(text) == "One two.\n\nArgs:\n    a: first goes on\n    b: second\n\n- x y\n- z"
