"""Running the command line inside the test process, and looking through what it prints."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from lvlm_saliency.cli import main, notes
from lvlm_saliency.scenes import demo_scenes, draw_scene

NAME = "run\x1b]0;TITLE\x07[bold]\u202ex\x9b2J\nerror: spoof"
"""The name of a file, a run or a method that would steer a terminal if it were printed as it is."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def check(text: str, coloured: bool = False) -> str:
    """The text, once it is known that a terminal obeys nothing in it (but colours that rich sets)."""
    plain = COLOUR.sub("", text) if coloured else text
    strange = {character for character in plain if not character.isprintable() and character not in "\n\t"}
    assert not strange, ascii(plain)
    return plain


@dataclass
class Result:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that a failed command prints."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        assert self.out == ""
        return lines[0]


@pytest.fixture
def run(capsys, monkeypatch):
    """`run("explain", "--image", ...)` -> Result."""
    monkeypatch.delenv("LVLM_SALIENCY_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return command


@pytest.fixture
def picture(tmp_path):
    """A picture that can be read, and that the shipped model knows the like of."""
    path = tmp_path / "picture.png"
    draw_scene(demo_scenes(1)[0]).save(path)
    return path


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    """Notes that are told once a process are told anew in every test."""
    monkeypatch.setattr(notes, "_told", set())
