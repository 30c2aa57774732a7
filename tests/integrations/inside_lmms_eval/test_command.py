"""The command `python -m lmms_eval`, in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SGRS = "sgrs:alpha=0.9;order=greedy+locore:beta=0.3"


def lmms_eval(tasks, out: Path, methods: str, *more: str, launcher: tuple[str, ...] = ()) -> tuple[int, list, str]:
    """Exit status, answers and log of a run."""
    words = ["--model", "lvlm-saliency", "--model_args", f"pretrained=scenes,methods={methods},seed=7"]
    places = ["--tasks", "scenes_questions", "--include_path", str(tasks.folder), "--output_path", str(out)]
    done = subprocess.run(
        [
            sys.executable,
            *(launcher or ("-m",)),
            "lmms_eval",
            *words,
            *places,
            "--batch_size",
            "4",
            "--log_samples",
            *more,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    samples = [json.loads(line) for file in out.rglob("*samples*.jsonl") for line in file.read_text().splitlines()]
    samples.sort(key=lambda one: one["doc_id"])
    return done.returncode, [one["filtered_resps"] for one in samples], done.stdout + done.stderr


def test_one_process_and_two(tasks, model, tmp_path):
    """Nine documents over two processes: each has draws of its own, whoever asks for it."""
    want, _ = tasks.run(model(SGRS))
    _, answers, log = lmms_eval(tasks, tmp_path / "one", SGRS)
    assert answers == want, log[-3000:]
    two = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "-m")
    _, answers, log = lmms_eval(tasks, tmp_path / "two", SGRS, launcher=two)
    assert answers == want, log[-3000:]


def test_an_error_leaves_no_results_and_a_status_only_where_it_is_asked_for(tasks, tmp_path):
    status, answers, log = lmms_eval(tasks, tmp_path, "nosuchmethod")
    assert (status, answers) == (0, [])  # lmms-eval's own way: docs/lmms-eval.md warns of it
    assert "nosuchmethod" in log
    assert not list(tmp_path.rglob("*results*"))
    status, answers, _ = lmms_eval(tasks, tmp_path, "nosuchmethod", "--verbosity", "DEBUG")
    assert status != 0
    assert not answers
