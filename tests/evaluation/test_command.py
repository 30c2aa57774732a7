"""`lvlm-saliency evaluate` and `lvlm-saliency data check`."""

from __future__ import annotations

import json

import pytest

import lvlm_saliency as ls
from lvlm_saliency.cli import main
from lvlm_saliency.evaluation import Settings, evaluate
from lvlm_saliency.evaluation.runner import Run, Silent
from lvlm_saliency.scenes.recognise import NOT_A_SCENE


@pytest.fixture
def command(capsys, checkpoint, tmp_path, monkeypatch):
    """`command("--n", 2)` -> (status, stdout, stderr) of a short run in tmp_path/run."""
    monkeypatch.setenv("COLUMNS", "200")
    shared = [
        "--model",
        checkpoint,
        "--device",
        "cpu",
        "--out",
        tmp_path / "run",
        "--max-new-tokens",
        4,
        "--resamples",
        40,
    ]

    def run(*arguments, plain=False):
        capsys.readouterr()
        given = arguments if plain else ("evaluate", *shared, *arguments)
        status = main([str(argument) for argument in given])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_a_run_prints_its_tables_and_goes_on_where_it_stopped(command, tmp_path):
    chosen = ("--benchmark", "scenes-caption", "--method", "locore", "--n", 3)
    status, out, err = command(*chosen, "--shard", "2/2")
    assert (status, out) == (0, "")
    assert "still to come from other shards" in err
    status, out, err = command(*chosen)
    assert status == 0
    assert "going on: 3 of 9 answers are there" in err
    assert "CHAIR_s" in out
    assert "locore" in out
    assert "summary.html" in out
    status, out, err = command(*chosen, "--seed", 1)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: ")
    assert "seed = 0, this one has 1" in err


def test_all_methods_are_one_option(command):
    from lvlm_saliency import methods

    status, out, _ = command("--benchmark", "scenes-caption", "--method", "all", "--method", "sgrs+locore", "--n", 1)
    assert status == 0
    named = {line.split()[0] for line in out.splitlines() if line.strip()}
    assert {*methods(), "greedy", "sgrs+locore"} <= named
    assert "--method all" in command("evaluate", "--help", plain=True)[1]


def test_json_is_all_that_goes_to_stdout(command, tmp_path):
    status, out, _ = command("--benchmark", "scenes-caption", "--n", 2, "--json")
    assert status == 0
    assert json.loads(out) == json.loads((tmp_path / "run/scores.json").read_text())


def test_yaml_and_options_are_one(command, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("benchmarks: [scenes-caption]\nmethods: [{locore: {beta: 2}}]\nn: 9\nmax-new-tokens: 3\n")
    status, out, _ = command("--config", config, "--n", 2)
    assert status == 0
    assert "locore:beta=2" in out
    held = json.loads((tmp_path / "run/config.json").read_text())
    assert held["benchmarks"]["scenes-caption"]["n"] == 2
    assert held["settings"]["max_new_tokens"] == 4


def test_runs_are_compared(command, tmp_path):
    command("--benchmark", "scenes-caption", "--n", 2)
    report = ("evaluate", "--report", tmp_path / "run", "--out", tmp_path / "both")
    status, out, _ = command(*report, plain=True)
    assert status == 0
    assert "greedy" in out
    assert (tmp_path / "both/report.html").exists()
    assert command(*report, "--json", plain=True)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--benchmark", "scenes"], "did you mean 'scenes-"),
        (["--benchmark", "scenes-caption", "--method", "sgr"], "did you mean 'sgrs'"),
        (["--benchmark", "scenes-caption", "--method", "al"], "unknown method 'al'; did you mean 'all'"),
        (["--benchmark", "scenes-caption", "--method", "nothing-like-it"], "known: all, beam, "),
        (["--benchmark", "scenes-caption", "--method", "all+locore"], "give it by itself"),
        (["--benchmark", "scenes-caption", "--shard", "5"], "1/2"),
        (["--benchmark", "pope"], "--data DIR"),
        (["--benchmark", "scenes-caption", "--batch-size", "0"], "--batch-size"),
        (["folder"], "--report"),
        ([], "--benchmark"),
    ],
)
def test_mistakes_are_one_line(command, arguments, words):
    status, out, err = command(*arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err


def test_data_check_says_what_is_missing(command, tmp_path):
    (tmp_path / "coco_pope_random.json").write_text("{}\n")
    status, out, _ = command("data", "check", "pope", "--data", tmp_path, plain=True)
    assert status == 1
    assert "pope: incomplete" in out
    assert str(tmp_path / "coco_pope_random.json") in out
    assert out.count("MISSING") == 3
    status, out, _ = command("data", "check", "scenes-pope", "--json", plain=True)
    assert (status, json.loads(out)) == (0, [])
    assert command("data", "check", "pop", plain=True)[0] == 2


@pytest.mark.parametrize("columns", ["60", "80", None])
def test_tables_keep_to_the_width_of_a_pipe(command, tmp_path, monkeypatch, columns):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    status, out, _ = command("--benchmark", "scenes-caption", "--method", "locore", "--n", 2)
    assert status == 0
    lines = [line.rstrip() for line in out.splitlines() if "summary.html" not in line]
    assert max(map(len, lines)) <= int(columns or 80)
    words = out.split()
    for head in ("CHAIR_s", "recall", "well-formed", "ms/token", "bwd/token", "skipped"):
        assert head in words
    assert "[cut]" in words


def test_shipped_model_on_other_pictures_is_told(tmp_path, monkeypatch):
    """On a benchmark of photographs the run says, once and before it begins, that the model knows drawings only."""
    told = []

    class Told(Silent):
        def note(self, text):
            told.append(text)

    model, processor = ls.load_model("scenes", device="cpu")
    shared = {"model": "scenes", "n": 1, "max_new_tokens": 2, "resamples": 40}
    evaluate(
        Settings(benchmarks=["scenes-pope"], out=tmp_path / "a", **shared),
        model=model, processor=processor, listener=Told(),
    )  # fmt: skip
    assert told == []
    run = Run(Settings(benchmarks=["scenes-pope"], out=tmp_path / "b", **shared), Told())
    monkeypatch.setattr(type(run.benchmarks[0]), "name", "mme")
    run.go(model, processor)
    assert told.count(NOT_A_SCENE) == 1
