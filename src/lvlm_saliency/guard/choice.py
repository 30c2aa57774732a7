"""Chooses the tokens of guarded texts: the likeliest, or a draw determined by seed, position and attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lvlm_saliency.decoding.draws import pick, uniform
from lvlm_saliency.guard.row import Row

VARIED = 0.8, 0.95
"""Temperature and top-p of the candidate texts of "best_of", where the base decoding is greedy."""


@dataclass(frozen=True)
class Choice:
    """How tokens are chosen: sampled at the settings' temperature with a seed, or greedily.

    A sentence that is rewritten is drawn at a temperature that rises with each attempt; under greedy decoding, its
    first rewriting is greedy as well.
    """

    sampled: bool
    temperature: float
    seed: int | None

    def tokens(self, processed: Tensor, rows: Sequence[Row], writing: Sequence[bool]) -> list[int | None]:
        """The next token of every row that is still being generated, from processed logits `[B, V]`.

        Without a seed all rows are drawn together from torch's global generator, as `generate` does.
        """
        if self.seed is None:
            drawn = torch.multinomial(torch.softmax(processed, dim=-1), num_samples=1).squeeze(1).tolist()
            return [token if alive else None for token, alive in zip(drawn, writing, strict=True)]
        likeliest = processed.argmax(-1).tolist()
        return [
            self._next(row, likeliest[n], processed[n]) if alive else None
            for n, (row, alive) in enumerate(zip(rows, writing, strict=True))
        ]

    def _next(self, row: Row, likeliest: int, processed: Tensor) -> int:
        if row.planned is not None:
            return row.planned
        return likeliest if self._plainly(row) else self._drawn(processed, row)

    @staticmethod
    def _attempt(row: Row) -> int:
        return row.candidate or (row.attempt if row.redoing and not row.dropping else 0)

    def _plainly(self, row: Row) -> bool:
        """Whether the row's next token is chosen greedily."""
        return not self.sampled and self._attempt(row) < 2 and not row.candidate

    def _drawn(self, processed: Tensor, row: Row) -> int:
        """The next token of a sample, drawn from its processed logits `[V]`."""
        attempt, step = self._attempt(row), len(row.draft)
        if row.candidate:
            scale = 1.0
            if not self.sampled:
                processed = _nucleus(processed / VARIED[0], VARIED[1])
        elif self.sampled:
            scale = self.temperature / min(self.temperature + 0.05 * attempt, self.temperature + 0.5)
        else:
            scale = 1 / min(0.2 + 0.1 * (attempt - 1), 0.7)
        weights = torch.softmax(processed.double() * scale, dim=-1).cpu().numpy()
        return pick(weights, uniform(self.seed, row.number, step, attempt))


def _nucleus(logits: Tensor, share: float) -> Tensor:
    """The logits `[V]` with -inf outside the smallest set of likeliest tokens whose probability reaches `share`."""
    order = logits.argsort(descending=True)
    mass = torch.softmax(logits[order].double(), -1).cumsum(-1)
    keep = torch.cat([mass.new_zeros(1), mass[:-1]]) < share
    return logits.index_fill(0, order[~keep], -torch.inf)
