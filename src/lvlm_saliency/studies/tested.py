"""Scores that are tested for how well they tell bad rows from good ones, each once, and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lvlm_saliency.stats.clusters import Resampler
from lvlm_saliency.studies.areas import Areas, Draws
from lvlm_saliency.studies.scores import Score


class Tested:
    """Rows with scores. Whoever derives from it calls `_test` first, and says what `scores` and `strata` are.

    Attributes:
        y: bool `[N]`, the bad rows (hallucinated words, wrong answers).
        resampler: redraws whole groups of rows.
        asked: number of areas that were tested, for the correction for multiple comparisons.
    """

    y: np.ndarray
    resampler: Resampler
    asked: int

    @property
    def scores(self) -> Sequence[Score]:
        """The scores, in the order of tables."""
        raise NotImplementedError(f"{type(self).__name__} does not say which scores it has")

    @property
    def strata(self) -> Mapping[str, np.ndarray]:
        """What is held equal, by name: int `[N]` each; only rows of one stratum are compared."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it holds equal")

    def _test(self, y: np.ndarray, groups: np.ndarray, resamples: int, seed: int) -> None:
        """Make ready. y: bool `[N]`; groups: `[N]`, what intervals redraw as a whole."""
        self.y, self.resampler = y, Resampler(groups, resamples, seed)
        self._areas = Areas(self.y, self.resampler)
        self._known: dict[tuple[str, str], Draws] = {}

    def score(self, name: str) -> Score:
        return next(score for score in self.scores if score.name == name)

    def area(self, name: str, held: str = "") -> Draws:
        """Area of a score for the bad rows, among rows that are equal in `held`."""
        if (name, held) not in self._known:
            self.asked += 1
            self._known[name, held] = self._areas.auroc(self.score(name).risk, self.strata.get(held))
        return self._known[name, held]

    def compared(self, held: str) -> int:
        """Bad rows that have a good one to be compared with."""
        groups = self.strata[held]
        return int(np.isin(groups[self.y], groups[~self.y]).sum())
