"""Help without waiting, failures in one line, statuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import click
import pytest

from lvlm_saliency import __version__
from lvlm_saliency.cli import app as app_module
from lvlm_saliency.cli.app import COMMANDS, app

ASCII = {**os.environ, "PYTHONIOENCODING": "ascii"}
HEAVY = ("torch", "transformers", "numpy", "matplotlib", "jinja2", "rich")


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["explain", "--help"], ["nonsense"]])
def test_quick_answers_import_nothing_heavy(arguments):
    code = (
        "import sys; from lvlm_saliency.cli import main; main(sys.argv[1:]);"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert python("-c", code, *arguments).stdout.splitlines()[-1] == "[]"


def test_what_benchmarks_need_is_told_without_torch():
    code = f"import sys; from lvlm_saliency.cli import main; main(['data']); print({{*{HEAVY}}} & {{*sys.modules}})"
    assert python("-c", code).stdout.splitlines()[-1] == "{'numpy'}"  # their rooms hold scorers too


def test_version(run):
    result = run("--version")
    assert result.status == 0
    assert __version__ in result.out


def test_help_lists_every_command_and_no_other(run):
    for arguments in (["--help"], []):
        result = run(*arguments)
        assert result.status == 0
        listed = re.findall(r"^  ([a-z]+)  ", result.out.split("Commands:")[1], re.M)
        assert listed == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(name, run):
    result = run(name, "--help")
    assert result.status == 0
    assert "Example" in result.out
    assert f"lvlm-saliency {name}" in result.out


def test_every_option_is_described_by_help_or_default(run):
    for name in ("explain", "generate", "models", "methods", "data"):
        command = app.get_command(click.Context(app), name)
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help or option.show_default, (name, option.name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explan"], "did you mean 'explain'"),
        (["--vesion"], "--version"),
        (["explain", "--imag", "x"], "--image"),
        (["explain"], "Missing option '--prompt'"),
        (["generate", "--prompt", "x", "--top-p", "1.5"], "1.5"),
        (["generate", "--prompt", "x", "--max-new-tokens", "0"], "0"),
        (["generate", "--prompt", "x", "--dtype", "int8"], "int8"),
        (["methods", "sgr"], "did you mean 'sgrs'"),
        (["data", "scens"], "scens"),
    ],
)
def test_usage_errors_are_one_line_and_status_two(arguments, words, run):
    result = run(*arguments)
    assert result.status == 2
    assert words in result.error


def failing(monkeypatch, error):
    @click.command()
    def broken():
        raise error

    monkeypatch.setattr(app_module.LazyGroup, "get_command", lambda self, ctx, name: broken)


def test_unforeseen_failure_is_one_line_and_status_one(run, monkeypatch):
    failing(monkeypatch, RuntimeError("first line\nsecond line"))
    result = run("models")
    assert result.status == 1
    assert result.error == "error: RuntimeError: first line second line"


def test_debug_shows_the_traceback(run, monkeypatch):
    failing(monkeypatch, RuntimeError("why"))
    result = run("--debug", "models")
    assert result.status == 1
    assert "Traceback" in result.err
    monkeypatch.setenv("LVLM_SALIENCY_DEBUG", "1")
    assert "Traceback" in run("models").err


def test_interrupt_is_status_130(run, monkeypatch):
    failing(monkeypatch, KeyboardInterrupt())
    result = run("models")
    assert result.status == 130
    assert result.error == "error: interrupted"


@pytest.mark.parametrize("options", [["--json"], []])
def test_reader_that_goes_away_is_no_error(options):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "lvlm_saliency.cli", "models", *options]
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 141


def test_runs_as_a_module():
    done = python("-m", "lvlm_saliency.cli", "explain")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_json_survives_a_terminal_without_unicode():
    code = "from lvlm_saliency.cli.output import print_json; print_json(['\\u732b', float('nan')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=ASCII)
    assert json.loads(done.stdout) == ["\u732b", None]


def test_runs_as_the_package():
    done = python("-m", "lvlm_saliency", "--version")
    assert done.returncode == 0
    assert __version__ in done.stdout
    assert python("-m", "lvlm_saliency", "explan").stderr.startswith("error: unknown command 'explan'")
