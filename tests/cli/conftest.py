"""Running the command line inside the test process."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from PIL import Image

from lvlm_saliency.cli import main


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
    """A picture that can be read."""
    path = tmp_path / "picture.png"
    Image.new("RGB", (64, 64), "white").save(path)
    return path
