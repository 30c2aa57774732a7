"""Readings by hand, for tests of formulas."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lvlm_saliency.detection.base import Depth
from lvlm_saliency.detection.reading import LensOf, Reading

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "detectors"


def reference(name: str) -> dict:
    """What the official function gave; the test is skipped where the file is absent."""
    file = DATA / f"{name}.json"
    if not file.exists():
        pytest.skip(f"no {name}.json beside the checkout")
    return json.loads(file.read_text())


def text(prompt: int = 6, count: int = 4, image: slice = slice(1, 5), depth: int = 4, **more) -> Reading:
    """A text of `count` tokens with ids 100, 101, ... behind a prompt with ids 0, 1, ..."""
    ids = np.r_[np.arange(prompt), 100 + np.arange(count)]
    positions = np.arange(prompt)[image]
    return Reading(ids=ids, prompt=prompt, image=positions, depth=Depth.of(depth), rows=np.arange(count + 1), **more)


def attention(reading: Reading, heads: int = 2, seed: int = 0) -> dict[int, np.ndarray]:
    """Random causal rows that sum to 1."""
    random = np.random.default_rng(seed)
    width = len(reading.ids)
    found = {}
    for layer in range(reading.depth.count):
        rows = random.random((heads, reading.count + 1, width)) + 0.01
        seen = np.arange(width) < reading.prompt + np.arange(reading.count + 1)[:, None]
        rows = rows * seen
        found[layer] = (rows / rows.sum(-1, keepdims=True)).astype(np.float32)
    return found


def lens(logits: np.ndarray, ids) -> LensOf:
    """The lens of whole logits `[P, V]`, in float64."""
    logits = np.asarray(logits, dtype=np.float64)

    def size(rows):
        largest = rows.max(-1, keepdims=True)
        return (largest + np.log(np.exp(rows - largest).sum(-1, keepdims=True)))[..., 0]

    large = np.sort(logits, -1)[:, ::-1][:, :50]
    ids = np.asarray(sorted(ids))
    return LensOf(ids, logits[:, ids], size(logits), logits.argmax(-1), large[:, -1], size(large))
