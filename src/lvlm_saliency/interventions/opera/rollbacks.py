"""When OPERA rolls back, how far, and which choices are then refused (arXiv 2311.17911, section 3.3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lvlm_saliency.interventions.opera.over_trust import NO_COLUMN

EARLIEST = 10
"""official_code: summary tokens before this position cause no rollback."""


@dataclass
class Ledger:
    """The votes and rollbacks of one sample's search.

    Attributes:
        votes: for each step on the current path int64 `[n]`, the column at which most of a beam's candidates have their
            largest phi (`NO_COLUMN`: at none).
        refused: by position, the (beam, token) choices that were rolled back.
        times: by position, how often it was decided again.
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
        """Note the candidates' columns `[r, m]`; before the first token one row counts for all beams."""
        votes = where.mode(dim=-1).values
        self.votes.append(votes[torch.arange(self.n_beams, device=votes.device).clamp_max(len(votes) - 1)])

    def target(self) -> int | None:
        """The position to decide again, or None.

        The column s that most beams vote for now must have had enough votes from every beam. Then the token after s is
        decided again; or s itself, where that has been done `limit` times; or None.
        """
        summary = int(self.votes[-1].mode().values)
        if summary == NO_COLUMN:
            return None
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
        """Roll back to `position`, where `choices` (parent beams and tokens, `[n]` each) are refused from now on."""
        self.times[position] += 1
        self.latest = position
        # In the paper that step is decided among penalised candidates again, so it votes again; the code keeps its
        # vote.
        del self.votes[position + (self.mode != "paper") :]
        pairs = list(zip(*(part.tolist() for part in choices), strict=True))
        self.refused = {at: old for at, old in self.refused.items() if at <= position}
        self.refused[position] = self.refused.get(position, []) + pairs

    def without_refused(self, logits: Tensor, position: int) -> Tensor:
        """The logits `[n, V]` with -inf for the choices that were rolled back at this position."""
        pairs = self.refused.get(position)
        if not pairs:
            return logits
        beams, tokens = torch.tensor(pairs, device=logits.device).T
        return logits.index_put((beams, tokens), logits.new_tensor(float("-inf")))
