"""Random draws that depend on what is drawn, not on how often a generator was called before.

Neither batch mates nor the execution (step by step, in blocks, after a restart) may change a text, so every draw is a
pure function of (seed, sample, step, draw): a counter-based generator (Philox) with these numbers as key and counter.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch

STREAM = 0x53475253
"""Second half of the key: keeps these draws apart from other uses of the same seed."""


@functools.lru_cache(maxsize=4096)  # a first draw that is accepted on credit is asked for again
def uniform(seed: int, sample: int, step: int, draw: int) -> float:
    """A number in [0, 1)."""
    bits = np.random.Philox(key=[seed, STREAM], counter=[0, draw, step, sample])
    return float(np.random.Generator(bits).random())


def fresh_seed() -> int:
    """A seed from torch's own generator, so that `torch.manual_seed` governs what nobody seeded."""
    return int(torch.randint(2**62, ()).item())


def pick(weights: Sequence[float], u: float) -> int:
    """The index that the inverse distribution function of `weights` (not normalised) gives for `u` in [0, 1)."""
    cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))
    return min(int(np.searchsorted(cumulative, u * cumulative[-1], side="right")), len(weights) - 1)


def generator(seed: int, sample: int, stream: int = 0) -> torch.Generator:
    """A generator of a sample's own, for tensors of noise; `stream` keeps several uses of it apart."""
    bits = np.random.Philox(key=[seed, STREAM], counter=[1, stream, 0, sample])
    return torch.Generator().manual_seed(int(np.random.Generator(bits).integers(2**63)))
