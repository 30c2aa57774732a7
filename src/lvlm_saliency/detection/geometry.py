"""Cosines and top values, in float64."""

from __future__ import annotations

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each vector (last axis) at length 1; a zero vector stays zero, as in torch's `normalize`."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """The cosine of two vectors `[D]`."""
    return float(unit(one) @ unit(other))


def cosines(many: np.ndarray, one: np.ndarray) -> np.ndarray:
    """`[P]`: the cosine of each row of `many` `[P, D]` with `one` `[D]`."""
    return unit(many) @ unit(one)


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """The `count` largest values (all, where there are fewer)."""
    return np.sort(values)[::-1][:count]


def top(values: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` largest values stand, the largest first."""
    return np.argsort(-values, kind="stable")[:count]
