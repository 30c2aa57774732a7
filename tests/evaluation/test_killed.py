"""A run that is killed with signal 9 ends, in the end, with the same bytes as one that nobody disturbed."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest

from lvlm_saliency.evaluation import Settings, evaluate
from lvlm_saliency.files import json_lines as store

SHARED = {
    "model": "tiny",
    "benchmarks": ["scenes-caption"],
    "n": 9,
    "methods": ["locore:beta=1", "sgrs:order=greedy"],
    "max_new_tokens": 5,
    "batch_size": 2,
    "resamples": 40,
}
KILLS = 5


def work(checkpoint: str, out: str, begun) -> None:
    """One process's attempt at the run."""
    import torch

    from lvlm_saliency import load_model

    torch.set_num_threads(1)
    model, processor = load_model(checkpoint, device="cpu")
    begun.set()
    evaluate(Settings(out=out, **SHARED), model=model, processor=processor)


def results(folder: Path) -> dict[str, bytes]:
    """Everything but what was measured (time, memory)."""
    files = [file for kind in ("items", "inputs", "details") for file in folder.glob(f"{kind}/**/*.json*")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in [*files, folder / "scores.json"]}


@pytest.fixture(scope="module")
def processes():
    """Processes fork from a server that has the libraries loaded, so that a start takes no seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "transformers", "lvlm_saliency.model.load", "lvlm_saliency.evaluation.decoding"]
    )
    return context


def answers(folder: Path) -> int:
    """How many whole lines of answers are on disk."""
    return sum(file.read_bytes().count(b"\n") for file in folder.glob("items/*/*"))


def kill_after(process, folder: Path, enough: int, delay: float) -> None:
    """Signal 9, `delay` seconds after the folder holds `enough` answers: the progress of the run is the clock, so a
    busy machine moves no kill to before the first answer."""
    patience = time.monotonic() + 120
    while process.is_alive() and answers(folder) < enough:
        assert time.monotonic() < patience, "the run made no progress"
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.join()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signal 9")
def test_killed_at_random_moments_ends_with_the_same_bytes(checkpoint, tiny, tmp_path, processes):
    evaluate(Settings(out=tmp_path / "undisturbed", **SHARED), model=tiny[0], processor=tiny[1])

    chance = random.Random(5)
    killed, grown = 0, []
    for _ in range(KILLS):
        begun = processes.Event()
        process = processes.Process(target=work, args=(checkpoint, str(tmp_path / "killed"), begun))
        process.start()
        assert begun.wait(60)
        kill_after(process, tmp_path / "killed", sum(grown[-1:]) + chance.randint(0, 4), chance.uniform(0, 0.05))
        killed += process.exitcode == -signal.SIGKILL
        grown.append(answers(tmp_path / "killed"))
    begun = processes.Event()
    process = processes.Process(target=work, args=(checkpoint, str(tmp_path / "killed"), begun))
    process.start()
    process.join()

    assert process.exitcode == 0
    assert killed >= 2
    assert len(set(grown)) >= 2, "no kill came between two answers"
    assert grown == sorted(grown), "an answer was lost or made twice"
    assert results(tmp_path / "killed") == results(tmp_path / "undisturbed")


@pytest.mark.parametrize("left", [1, 17, 0.5, -1])
def test_a_torn_line_is_dropped_and_written_anew(left, ended, tiny):
    chosen = ended(methods=[], n=4)
    whole = results(chosen.out)
    file = chosen.out / "items/scenes-caption/greedy.1-of-1.jsonl"
    content = file.read_bytes()
    start = content[:-1].rfind(b"\n") + 1
    length = len(content) - start
    keep = round(left * length) if isinstance(left, float) else left % length
    file.write_bytes(content[: start + keep])
    assert len(store.read_lines(file)) == 3
    evaluate(chosen, model=tiny[0], processor=tiny[1])
    assert results(chosen.out) == whole


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(ended, tiny):
    chosen = ended(methods=[], n=3)
    file = chosen.out / "items/scenes-caption/sample.1-of-1.jsonl"
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([lines[0], b'{"index": 1, "te', *lines[2:]]))
    with pytest.raises(ValueError, match=r"sample\.1-of-1\.jsonl:2: damaged"):
        evaluate(chosen, model=tiny[0], processor=tiny[1])
