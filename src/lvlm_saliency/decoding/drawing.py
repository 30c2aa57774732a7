"""Drawing the next token from the whole processed distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lvlm_saliency.decoding.draws import fresh_seed, pick, uniform
from lvlm_saliency.model.output import TokenRecord


class Drawing:
    """One generation under `Sampling`; `sample_ids` names the samples to the draws."""

    backwards = 0

    def __init__(self, seed: int | None, sample_ids: Sequence[int]):
        self.seed = fresh_seed() if seed is None else seed
        self.samples = list(sample_ids)

    def capture(self) -> None:
        """Nothing of the forward pass is kept."""

    def choose(self, step: int, logits: Tensor, processed: Tensor, capture: None, active: list[bool]):
        """One `Step` per sample, None for the finished; `processed` is float32 `[B, V]` after all warpers."""
        # float64, so that the draw does not fall into the rounding of a cumulative sum over a large vocabulary
        weights = torch.softmax(processed.double(), dim=-1).cpu().numpy()
        return [
            TokenRecord(pick(row, uniform(self.seed, sample, step, 0))) if alive else None
            for row, sample, alive in zip(weights, self.samples, active, strict=True)
        ]
