"""Plain sampling whose draws belong to the sample, not to the batch that it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.interventions.base import Method, number


@dataclass(frozen=True)
class Sampling(Method):
    """Each token is drawn from the whole processed distribution: the sampled baseline.

    What `model.generate(do_sample=True)` does, except that the draw of a step is a function of (seed, sample, step).
    A text therefore stays the same whoever shares its batch, and on whichever machine its share of a benchmark runs.
    Temperature, top-k and top-p are `generate`'s own settings and act as usual, with `do_sample=True`.

    Args:
        seed: of the draws; None takes one from torch's generator.
    """

    name: ClassVar[str] = "sample"
    paper: ClassVar[str] = ""
    edits: ClassVar[str] = "choice of each token"
    composes: ClassVar[str] = "attention edits, and one method that makes the logits; no other that chooses tokens"
    cost: ClassVar[str] = "no extra pass"

    seed: int | None = None

    def __post_init__(self):
        if self.seed is not None:
            number("Sampling", "seed", self.seed, 0, 2**63 - 1, whole=True)

    def selector(self, model, sample_ids: Sequence[int]):
        """The state of one generation with this method."""
        from lvlm_saliency.decoding.drawing import Drawing

        return Drawing(self.seed, sample_ids)
