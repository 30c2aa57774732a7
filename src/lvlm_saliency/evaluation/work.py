"""A work item of a run, and the result of a batch of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lvlm_saliency.benchmarks.base import Benchmark, Item
from lvlm_saliency.evaluation.systems import System

Result = tuple[list[dict[str, Any]], dict[str, Any]]
"""The rows of a batch, in the order of its items, and its cost."""


@dataclass(frozen=True, eq=False)
class Work:
    """Items of a benchmark to be answered under a system."""

    benchmark: Benchmark
    system: System
    items: Sequence[Item]

    @property
    def label(self) -> str:
        return f"{self.benchmark.name} · {self.system.label}"
