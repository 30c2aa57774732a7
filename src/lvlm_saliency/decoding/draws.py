"""Random draws that do not depend on how often a generator was called before.

A text must not change with the other samples of its batch or with the execution (step by step, in blocks, after a
restart). So every draw is a pure function of (seed, sample, step, draw): a counter-based generator (Philox) with these
numbers as key and counter.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

STREAM = 0x53475253
"""Second half of the key, so that other uses of the same seed draw other numbers."""


@functools.lru_cache(maxsize=4096)  # blockwise SGRS asks for a step's first draw twice
def uniform(seed: int, sample: int, step: int, draw: int) -> float:
    """A uniform number in [0, 1) for these numbers, always the same."""
    bits = np.random.Philox(key=[seed, STREAM], counter=[0, draw, step, sample])
    return float(np.random.Generator(bits).random())


def fresh_seed() -> int:
    """A seed from torch's global generator, so that `torch.manual_seed` also decides draws without a seed of their
    own."""
    return int(torch.randint(2**62, ()).item())


def pick(weights: Sequence[float] | NDArray[np.float64], u: float) -> int:
    """The index at which the cumulative sum of `weights` (which need not sum to 1) passes the share `u` in [0, 1)."""
    cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))
    return min(int(np.searchsorted(cumulative, u * cumulative[-1], side="right")), len(weights) - 1)


def generator(seed: int, sample: int, stream: int = 0) -> torch.Generator:
    """A generator for one sample's noise tensors; another `stream` gives independent numbers."""
    bits = np.random.Philox(key=[seed, STREAM], counter=[1, stream, 0, sample])
    return torch.Generator().manual_seed(int(np.random.Generator(bits).integers(2**63)))
