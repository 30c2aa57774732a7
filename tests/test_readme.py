"""The README's Python example runs as it stands, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from lvlm_saliency.cli.app import COMMANDS

README = Path(__file__).parents[1] / "README.md"


def test_python_example_runs(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    Image.new("RGB", (64, 64), "white").save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_commands_exist():
    named = set(re.findall(r"^lvlm-saliency (\w+)", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)


def test_files_that_it_links_to_exist():
    links = re.findall(r"(?:\]\(|src=\"|srcset=\")((?!https?:)[^)\"]+)", README.read_text(encoding="utf-8"))
    assert "docs/img/report.png" in links
    assert [link for link in links if not (README.parent / link).exists()] == []
