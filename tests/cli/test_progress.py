"""Long work on stderr: bars on a terminal alone, plain lines now and then elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lvlm_saliency.cli import progress
from lvlm_saliency.cli.progress import Lines, progress_bar


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_now_and_then(clock, capsys):
    lines = Lines()
    lines.begin("answers", 100, 20)
    for _ in range(79):
        clock[0] += 1
        lines.advance("pope · greedy", 1)
    clock[0] += 1
    lines.advance("pope · greedy", 1)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "going on: 20 of 100 answers are there",
        "answers: 50 of 100, 1.0/s, about 50 s left (pope · greedy)",
        "answers: 80 of 100, 1.0/s, about 20 s left (pope · greedy)",
        "answers: 100 of 100 after 80 s",
    ]


def test_finished_work_is_not_begun(capsys):
    Lines().begin("answers", 5, 5)
    assert capsys.readouterr().err == ""


def test_no_terminal_no_bar(capsys):
    with progress_bar() as bar:
        assert isinstance(bar, Lines)
        bar.note("a note")
    assert capsys.readouterr().err == "a note\n"


@pytest.mark.slow
def test_a_whole_run_in_a_pipe_draws_nothing(tmp_path):
    command = "evaluate --model scenes --benchmark scenes-pope --n 1 --max-new-tokens 2 --resamples 40 --device cpu"
    done = subprocess.run(
        [sys.executable, "-m", "lvlm_saliency", *command.split(), "--out", str(tmp_path / "run")],
        env={name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_PROGRESS_BARS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stderr + done.stdout
    assert "%|" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("answers: 0 of ")
    assert len(lines) <= 3
