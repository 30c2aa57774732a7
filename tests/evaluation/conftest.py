"""One tiny checkpoint on disk, and short runs with it."""

from __future__ import annotations

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


@pytest.fixture
def settings(tmp_path):
    """`settings(out="name", ...)`: a short run of captions, six scenes, greedy, sampled and LocoRE."""
    from lvlm_saliency.evaluation import Settings

    def made(out: str = "run", **changes) -> Settings:
        values = {
            "model": "tiny",
            "benchmarks": ["scenes-caption"],
            "methods": ["locore:beta=1"],
            "n": 6,
            "max_new_tokens": 8,
            "batch_size": 4,
            "resamples": 50,
        }
        return Settings(out=tmp_path / out, **{**values, **changes})

    return made


def lines(folder: Path) -> dict[str, list[str]]:
    """The lines of all items files, sorted within each benchmark and system, whatever the shards."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.glob("items/*/*.jsonl")):
        name = f"{file.parent.name}/{file.name.rsplit('.', 2)[0]}"
        found.setdefault(name, []).extend(file.read_text().splitlines())
    return {name: sorted(rows) for name, rows in found.items()}
