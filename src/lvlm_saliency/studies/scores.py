"""Scores by which a study compares words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """A score of every word (or answer), float `[N]`."""

    name: str
    values: np.ndarray
    low_is_risky: bool = True

    @property
    def risk(self) -> np.ndarray:
        """The values, with the sign that makes a high value speak for a hallucination."""
        return -self.values if self.low_is_risky else self.values
