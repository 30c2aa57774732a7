"""Shell completion: click's mechanism, answered by the shells' own scripts and without waiting for a library."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

import lvlm_saliency as ls
from lvlm_saliency.benchmarks.registry import runnable
from lvlm_saliency.cli import main
from lvlm_saliency.cli.app import COMMANDS, COMPLETION
from lvlm_saliency.studies import STUDIES

HEAVY = ("torch", "transformers", "numpy", "matplotlib", "jinja2", "rich", "yaml")


@pytest.fixture
def completed(monkeypatch, capsys):
    """`completed("explain --me")` -> what may stand for the last word."""

    def complete(line):
        words = ["lvlm-saliency", *line.split(" ")]
        monkeypatch.setenv(COMPLETION, "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        assert main([]) == 0
        return [answer.split(",", 1) for answer in capsys.readouterr().out.split()]

    return complete


def values(answers):
    return [value for kind, value in answers if kind == "plain"]


def test_commands(completed):
    assert values(completed("")) == list(COMMANDS)
    assert values(completed("mo")) == ["models"]


def test_options_of_a_command(completed):
    assert {"--method", "--max-new-tokens"} <= set(values(completed("explain --m")))
    assert "--budget" in values(completed("tune --b"))


@pytest.mark.parametrize("line", ["generate --method ", "explain --method ", "tune --methods ", "methods "])
def test_method_names(completed, line):
    assert values(completed(line)) == ls.methods()
    assert values(completed(line + "sg")) == ["sgrs"]


def test_a_second_method_behind_a_plus(completed):
    assert values(completed("generate --method sgrs+lo")) == ["sgrs+locore"]
    assert values(completed("generate --method sgrs:alpha=0.9+lo")) == ["sgrs:alpha=0.9+locore"]


def test_other_values(completed):
    assert values(completed("evaluate --method a")) == ["all"]
    assert values(completed("evaluate --benchmark ")) == list(runnable())
    assert values(completed("study ")) == [*STUDIES, "all"]
    assert values(completed("explain --region pr")) == ["previous", "prompt", "prompt+output"]
    assert values(completed("generate --device sp")) == ["spread"]
    assert completed("explain --image pi") == [["file", "pi"]]
    assert completed("evaluate --out ru") == [["dir", "ru"]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell):
    done = subprocess.run(
        [sys.executable, "-m", "lvlm_saliency"],
        env={**os.environ, COMPLETION: f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert COMPLETION in done.stdout
    assert "lvlm-saliency" in done.stdout


def test_bash_completes_by_that_script(tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    program = tmp_path / "lvlm-saliency"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m lvlm_saliency\n")
    program.chmod(0o755)
    script = (
        f'eval "$({COMPLETION}=bash_source lvlm-saliency)"; COMP_WORDS=(lvlm-saliency generate --method vc); '
        'COMP_CWORD=3; _lvlm_saliency_completion lvlm-saliency; echo "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([bash, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["vcd"], done.stderr


def test_nothing_heavy_is_imported_for_an_answer():
    code = (
        "import sys; from lvlm_saliency.cli import main; main();"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    for words in ("lvlm-saliency generate --method s", "lvlm-saliency evaluate --benchmark ", "lvlm-saliency study d"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={
                **os.environ,
                COMPLETION: "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(words.count(" ")),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.splitlines()[-1] == "[]", words
        assert len(done.stdout.splitlines()) > 1, words


def test_an_unknown_shell_is_named(monkeypatch, capsys):
    monkeypatch.setenv(COMPLETION, "tcsh_source")
    assert main([]) == 1
    assert "zsh_source" in capsys.readouterr().err
