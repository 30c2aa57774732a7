"""When OPERA's search goes back, how far, and what it may not choose again (arXiv 2311.17911, section 3.3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor

EARLIEST = 10
"""official_code: a summary token before this position is left alone."""


@dataclass
class Ledger:
    """What one sample's search remembers.

    votes: int64 `[n]` for each step on the current path, the column that most of a beam's candidates lean on; refused:
    by position, the (beam, token) choices taken back; times: by position, how often it was decided anew.
    """

    threshold: float
    limit: int
    mode: str
    n_beams: int
    votes: list[Tensor] = field(default_factory=list)
    refused: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    times: Counter[int] = field(default_factory=Counter)
    latest: int = 0

    def vote(self, where: Tensor) -> None:
        """Note the candidates' columns `[r, m]`; before the first token one row stands for all beams."""
        votes = where.mode(dim=-1).values
        self.votes.append(votes[torch.arange(self.n_beams, device=votes.device).clamp_max(len(votes) - 1)])

    def target(self) -> int | None:
        """The position to decide anew, or None.

        The column s that most beams lean on now must have been voted for often enough by every beam. Then the token
        behind s is decided anew; or s itself, once that has been done `limit` times; or nothing is.
        """
        summary = int(self.votes[-1].mode().values)
        count = (torch.stack(self.votes) == summary).sum(dim=0)
        enough = count >= self.threshold if self.mode == "paper" else count > self.threshold
        if not bool(enough.all()) or (self.mode != "paper" and summary < EARLIEST):
            return None
        decided = len(self.votes) - 1  # tokens of the answer so far
        position = summary + 1 if self.times[summary + 1] < self.limit else summary
        if position >= decided or self.times[position] >= self.limit:
            return None
        return None if self.mode == "paper" and position < self.latest else position

    def roll_back(self, position: int, choices: tuple[Tensor, Tensor]) -> None:
        """Go back to `position`, where `choices` (parent beams and tokens, `[n]` each) may not be made again."""
        self.times[position] += 1
        self.latest = position
        # The paper decides by penalised candidates again, so that step votes again; the code takes its vote as cast.
        del self.votes[position + (self.mode != "paper") :]
        pairs = list(zip(*(part.tolist() for part in choices), strict=True))
        self.refused = {at: old for at, old in self.refused.items() if at <= position}
        self.refused[position] = self.refused.get(position, []) + pairs

    def without_refused(self, logits: Tensor, position: int) -> Tensor:
        """The logits `[n, V]` with -inf for what was taken back at this position."""
        pairs = self.refused.get(position)
        if not pairs:
            return logits
        beams, tokens = torch.tensor(pairs, device=logits.device).T
        return logits.index_put((beams, tokens), logits.new_tensor(float("-inf")))
