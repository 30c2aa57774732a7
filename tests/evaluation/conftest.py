"""One tiny checkpoint on disk, and short runs with it."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest

from zoo import FAMILIES


@pytest.fixture(scope="session")
def checkpoint() -> str:
    """The folder of a tiny LLaVA, the same for every process that a test starts."""
    return FAMILIES["llava"].folder()


@pytest.fixture(scope="session")
def tiny(checkpoint):
    """(model, processor), shared: leave them as they are."""
    return FAMILIES["llava"].build()


@pytest.fixture(scope="session")
def double(checkpoint):
    """(model, processor) in float64, where the size of a batch cannot tip a draw: in float32 other kernels of other
    batch sizes move the odds by 1e-7, and once in thousands of draws a token with them."""
    model, processor = FAMILIES["llava"].fresh()
    return model.double(), processor


def short(out: Path, **changes):
    """Settings of a short run of captions: six scenes, greedy, sampled and LocoRE."""
    from lvlm_saliency.evaluation import Settings

    values = {
        "model": "tiny",
        "benchmarks": ["scenes-caption"],
        "methods": ["locore:beta=1"],
        "n": 6,
        "max_new_tokens": 8,
        "batch_size": 4,
        "resamples": 50,
    }
    return Settings(out=out, **{**values, **changes})


@pytest.fixture
def settings(tmp_path):
    """`settings(out="name", ...)`: those of a short run in a folder of the test's own."""
    return lambda out="run", **changes: short(tmp_path / out, **changes)


@pytest.fixture(scope="session")
def _ended(tiny, tmp_path_factory):
    from lvlm_saliency.evaluation import evaluate

    @functools.cache
    def made(baselines: bool, n: int) -> Path:
        folder = tmp_path_factory.mktemp("ended") / "run"
        evaluate(short(folder, n=n, **({"methods": []} if baselines else {})), model=tiny[0], processor=tiny[1])
        return folder

    return made


@pytest.fixture
def ended(settings, _ended):
    """`ended(out="name", n=6, methods=[])`: settings of a short run that has come to its end, with its folder; it is
    written once, and every test damages a copy of its own."""

    def copied(out: str = "run", n: int = 6, **changes):
        assert set(changes) <= {"methods"}
        chosen = settings(out, n=n, **changes)
        shutil.copytree(_ended("methods" in changes, n), chosen.out)
        return chosen

    return copied


def lines(folder: Path) -> dict[str, list[str]]:
    """The lines of all items files, sorted within each benchmark and system, whatever the shards."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.glob("items/*/*.jsonl")):
        name = f"{file.parent.name}/{file.name.rsplit('.', 2)[0]}"
        found.setdefault(name, []).extend(file.read_text().splitlines())
    return {name: sorted(rows) for name, rows in found.items()}


class Notes:
    """A listener that remembers."""

    def __init__(self):
        self.notes: list[str] = []
        self.begun = None
        self.advanced = 0

    def begin(self, label, total, done):
        self.begun = (total, done)

    def advance(self, name, count):
        self.advanced += count

    def note(self, text):
        self.notes.append(text)
