"""`--ray`: the folder of a run is that of one process, whatever is killed on the way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lvlm_saliency.cli import main

pytest.importorskip("ray")

OPTIONS = {
    "--benchmark": "scenes-caption",
    "--n": "12",
    "--method": "locore:beta=1",
    "--max-new-tokens": "6",
    "--batch-size": "2",
    "--resamples": "20",
    "--device": "cpu",
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
KILLS = int(os.environ.get("KILLS", "12"))


def command(checkpoint: str, out: Path, *more: str) -> list[str]:
    chosen = [word for pair in OPTIONS.items() for word in pair]
    return [sys.executable, "-m", "lvlm_saliency", "evaluate", "--model", checkpoint, "--out", str(out), *chosen, *more]


def run(words: list[str], **changes) -> subprocess.CompletedProcess:
    return subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=True, **changes)


def results(folder: Path) -> dict[str, bytes]:
    """Everything but what was measured (time, memory)."""
    files = [file for kind in ("items", "inputs", "details") for file in folder.glob(f"{kind}/**/*.json*")]
    fixed = [folder / "scores.json", folder / "config.json"]
    return {str(file.relative_to(folder)): file.read_bytes() for file in [*files, *fixed]}


def answers(folder: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in folder.glob("items/*/*"))


@pytest.fixture(scope="module")
def undisturbed(checkpoint, tmp_path_factory) -> Path:
    """The run as one process makes it."""
    folder = tmp_path_factory.mktemp("one") / "run"
    run(command(checkpoint, folder))
    return folder


def test_two_workers_write_what_one_process_writes(checkpoint, undisturbed, tmp_path):
    done = run([*command(checkpoint, tmp_path / "run", "--ray", "--workers", "2"), "--json"])
    assert results(tmp_path / "run") == results(undisturbed)
    assert done.stdout.startswith("{")


def test_options_of_ray_without_it_are_refused(capsys, tmp_path):
    words = ["evaluate", "--model", "scenes", "--benchmark", "scenes-pope", "--out", str(tmp_path), "--workers", "2"]
    assert main(words) == 2
    assert "--workers goes with --ray" in capsys.readouterr().err


def workers_of(pid: int) -> list[int]:
    """Ray's worker processes that hold a model, by their titles, among those of the cluster that `pid` started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            session = (process / "environ").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::Worker") and f"KILLS_OF={pid}".encode() in session:
            found.append(int(process.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the workers in /proc")
def test_random_kills_of_workers_and_of_the_driver_lose_nothing(checkpoint, undisturbed, tmp_path):
    """`KILLS=100 pytest ...` for as many as that."""
    chance, killed, starts, folder = random.Random(3), {"worker": 0, "driver": 0}, 0, tmp_path / "run"
    words = command(checkpoint, folder, "--ray", "--workers", "2", "--n", "60", "--batch-size", "1")
    process, mark = None, ""
    patience = time.monotonic() + 60 * KILLS
    while sum(killed.values()) < KILLS:
        assert time.monotonic() < patience, killed
        if process is None or process.poll() is not None:
            if process is not None and process.returncode == 0:
                break
            starts += 1
            mark = str(starts + os.getpid() * 1000)
            log = (tmp_path / f"{starts}.log").open("w")
            process = subprocess.Popen(words, env={**ENVIRONMENT, "KILLS_OF": mark}, stdout=log, stderr=log)
        time.sleep(chance.uniform(0.2, 4))
        if chance.random() < 0.2:
            process.kill()
            process.wait()
            killed["driver"] += 1
        elif found := workers_of(int(mark)):
            os.kill(chance.choice(found), signal.SIGKILL)
            killed["worker"] += 1
    if process is not None and process.poll() is None:
        process.wait(600)
    run(words)
    whole = tmp_path / "whole"
    run(command(checkpoint, whole, "--n", "60", "--batch-size", "1"))
    assert results(folder) == results(whole)
    assert all(killed.values()), killed
    print(killed, starts)
