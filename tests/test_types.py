"""The type check's count for each package may fall and never rise."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("type_check", ROOT / ".ci" / "type_check.py")
type_check = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(type_check)


@pytest.fixture
def baseline(tmp_path, monkeypatch):
    file = tmp_path / "types.txt"
    file.write_text("cli 2\nmodel 1\n", encoding="utf-8")
    monkeypatch.setattr(type_check, "BASELINE", file)
    return file


def found(monkeypatch, **counts):
    lines = [(name, f"{name}.py:1: wrong") for name, count in counts.items() for _ in range(count)]
    monkeypatch.setattr(type_check, "errors", lambda: lines)


def test_as_many_as_allowed_pass(baseline, monkeypatch, capsys):
    found(monkeypatch, cli=2, model=1)
    assert type_check.main(lower=False) == 0
    assert capsys.readouterr().out == "types: 3 errors, 3 allowed\n"


def test_one_more_fails_and_is_shown(baseline, monkeypatch, capsys):
    found(monkeypatch, cli=3)
    assert type_check.main(lower=False) == 1
    assert "cli.py:1: wrong" in capsys.readouterr().out


def test_a_package_without_a_line_has_none(baseline, monkeypatch):
    found(monkeypatch, attention=1)
    assert type_check.main(lower=False) == 1


def test_lowering_keeps_what_was_gained_and_never_raises(baseline, monkeypatch):
    found(monkeypatch, cli=1, attention=5)
    assert type_check.main(lower=True) == 1
    assert baseline.read_text(encoding="utf-8") == "cli 1\n"
    assert type_check.lowered({"cli": 2}, Counter(cli=9)) == {"cli": 2}


def test_the_strict_packages_are_not_in_the_baseline():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    strict = [one["module"] for one in settings["overrides"] if one.get("disallow_untyped_defs")]
    names = {module.split(".")[1] for modules in strict for module in modules}
    assert names.isdisjoint(type_check.allowed())
