"""The README's examples run as they stand, and what it and its neighbours name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from lvlm_saliency.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "ARCHITECTURE.md", "AGENTS.md", "CONTRIBUTING.md", "CHANGELOG.md")


def test_python_examples_run_one_after_the_other(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 2
    Image.new("RGB", (64, 64), "white").save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), "README.md", "exec"), {})
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_commands_exist():
    named = set(re.findall(r"^lvlm-saliency (\w+)", README, re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)


def test_it_is_short():
    assert len(README) < 8_000, "the rest belongs into docs/"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_links_to_exist(page):
    links = re.findall(r"(?:\]\(|src=\"|srcset=\")((?!https?:)[^)\"#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_files_and_targets_that_a_page_names_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    places = (ROOT, ROOT / "src" / "lvlm_saliency")
    paths = [
        name for name in re.findall(r"`([\w./]+/[\w./]*)`", text) if "." in name.rpartition("/")[2] or name[-1] == "/"
    ]
    missing = [name for name in paths if not any((place / name).exists() for place in places)]
    targets = set(re.findall(r"`make ([\w-]+)`", text))
    known = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert (missing if page != "CHANGELOG.md" else [], targets - known) == ([], set())
