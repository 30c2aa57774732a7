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


def workers_of(mark: str) -> list[int]:
    """Ray's worker processes that hold a model, by their titles, under the driver of this mark."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            session = (process / "environ").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::Worker") and f"KILLS_OF={mark}".encode() in session:
            found.append(int(process.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the workers in /proc")
def test_random_kills_of_workers_and_of_the_driver_lose_nothing(checkpoint, undisturbed, tmp_path):
    """`KILLS=100 pytest ...` for as many as that. The progress of the run is the clock: on a busy machine a kill by the
    second would come before anything began."""
    chance, folder, size = random.Random(3), tmp_path / "run", ["--n", str(3 * KILLS), "--batch-size", "1"]
    words = command(checkpoint, folder, "--ray", "--workers", "2", *size)
    killed = {"worker": 0, "driver": 0}
    while sum(killed.values()) < KILLS:
        mark = f"{os.getpid()}-{killed['driver']}"
        with (tmp_path / f"{killed['driver']}.log").open("w") as log:
            driver = subprocess.Popen(words, env={**ENVIRONMENT, "KILLS_OF": mark}, stdout=log, stderr=log)
        deaths = chance.randint(2, 8)
        for _ in range(deaths):
            wait_for(driver, folder, answers(folder) + chance.randint(1, 3), chance.uniform(0, 0.5))
            if found := workers_of(mark):
                os.kill(chance.choice(found), signal.SIGKILL)
                killed["worker"] += 1
        driver.kill()
        driver.wait()
        killed["driver"] += 1
    done = answers(folder)
    assert done < 9 * KILLS, "the run ended before the kills did"
    run(words)
    run(command(checkpoint, tmp_path / "whole", *size))
    assert results(folder) == results(tmp_path / "whole")
    print(killed, f"{done} of {9 * KILLS} answers when the last kill came")


def wait_for(driver: subprocess.Popen, folder: Path, enough: int, delay: float) -> None:
    """Until the folder holds so many answers, and `delay` seconds more."""
    patience = time.monotonic() + 300
    while answers(folder) < enough:
        assert driver.poll() is None, "the run ended by itself"
        assert time.monotonic() < patience, "the run made no progress"
        time.sleep(0.01)
    time.sleep(delay)
