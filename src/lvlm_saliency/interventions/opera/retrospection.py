"""OPERA's search over one sample: penalised candidates, and rollbacks where attention concentrates on one token.

All candidates of all beams go through the model in one pass over a copy of the cache. For the chosen ones that pass is
also the next decode step, so the penalty costs more rows per pass, but no further pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from lvlm_saliency.attention.state import Capture
from lvlm_saliency.decoding.beams import Beams, Move
from lvlm_saliency.decoding.branches import Branch
from lvlm_saliency.decoding.search import Found, Task
from lvlm_saliency.interventions.opera.over_trust import (
    candidate_ids,
    candidate_log_probs,
    extended,
    full_log_probs,
    penalties,
    shares,
)
from lvlm_saliency.interventions.opera.rollbacks import Ledger

if TYPE_CHECKING:
    from lvlm_saliency.interventions.opera.method import OPERA


Choices = tuple[Tensor, Tensor]
"""Parents and tokens of a step, int64 `[n]` each."""


@dataclass
class Point:
    """The state of the search before a step, and what that step chose. columns: log phi of each running text, float64
    `[n, t]`."""

    beams: Beams
    columns: Tensor
    choices: Choices | None = None


@dataclass
class Look:
    """The result of a forward pass over all candidates: the candidates int64 `[n, m]`, their penalties float64 and
    columns int64 `[n, m]`, the branch, and after each candidate the logits `[n * m, V]` and log phi `[n * m, t +
    1]`."""

    ids: Tensor
    penalties: Tensor
    where: Tensor
    branch: Branch
    logits: Tensor
    columns: Tensor


class Retrospection:
    """One generation for one sample; `settings` is the method, `layer` the layer whose attention it reads."""

    def __init__(self, settings: OPERA, task: Task, sample: int, layer: int):
        self.settings, self.task, self.sample, self.layer = settings, task, sample, layer
        self.ledger = Ledger(settings.threshold, settings.rollback_limit, settings.mode, settings.n_beams)
        self.kept = task.kept()

    def run(self) -> Found:
        """Search to the end."""
        rules, stops = self.task.rules[self.sample], self.task.stops(self.sample)
        beams = Beams.start(self.task.logits.device)
        branch, logits = self._replayed(beams)
        point = Point(beams, torch.zeros(1, 0, dtype=torch.float64, device=logits.device))
        trail: list[Point] = []
        while True:
            trail.append(point)
            allowed = self.ledger.without_refused(logits, point.beams.length)
            seen = self._look(branch, allowed, point)
            look: Look | None = seen
            self.ledger.vote(seen.where)
            back = self.ledger.target()
            if back is None:
                log_probs = candidate_log_probs(allowed, seen.ids, self.settings.alpha * seen.penalties)
            else:
                point, branch, logits = self._back(trail, back)
                if self.settings.mode == "paper":
                    trail.pop()
                    continue
                look, log_probs = None, full_log_probs(self.ledger.without_refused(logits, back))
            processed = self.task.processed(branch, log_probs)
            self.kept.put(point.beams.length, processed, logits)
            move = point.beams.advanced(processed, rules, stops)
            if move.beams.done:
                refused = {at: sorted({token for _, token in pairs}) for at, pairs in self.ledger.refused.items()}
                return Found(move.beams.best(rules.n_beams), self.kept, dict(self.ledger.times), refused)
            point.choices = move.parents, move.tokens
            branch, logits, columns = self._follow(branch, point, look, move)
            point = Point(move.beams, columns)

    def _look(self, branch: Branch, logits: Tensor, point: Point) -> Look:
        """Run the model over every candidate of every beam; `branch` is not changed."""
        ids = candidate_ids(logits, self.settings, point.beams.length)
        rows = torch.arange(len(ids), device=ids.device).repeat_interleave(ids.shape[1])
        ahead = branch.fork(rows)
        behind, columns, image = self._fed(ahead, ids.flatten(), point.columns[rows])
        penalty, where = penalties(columns, image, self.settings.mode)
        return Look(ids, penalty.view_as(ids), where.view_as(ids), ahead, behind, columns)

    def _follow(self, branch: Branch, point: Point, look: Look | None, move: Move) -> tuple[Branch, Tensor, Tensor]:
        """The branch, logits and log phi of the texts that the step chose."""
        if look is not None:
            same = look.ids[move.parents] == move.tokens[:, None]
            if bool(same.any(dim=-1).all()):
                rows = move.parents * look.ids.shape[1] + same.int().argmax(dim=-1)
                return look.branch.fork(rows), look.logits[rows], look.columns[rows]
        branch = branch.fork(move.parents)
        logits, columns, _ = self._fed(branch, move.tokens, point.columns[move.parents])
        return branch, logits, columns

    def _fed(self, branch: Branch, tokens: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Feed one token per row. Returns logits, log phi with the token's own row, and its attention to the
        picture."""
        capture = Capture(frozenset([self.layer]), graph=False)
        logits = branch.feed(tokens[:, None], capture)
        self.task.drafted += len(tokens)
        image = branch.prompt.image
        answer, image = shares(
            capture.weights[self.layer], capture.contexts[self.layer], None if image is None else image[branch.origin]
        )
        return logits, extended(columns, answer, self.settings.sigma), image

    def _back(self, trail: list[Point], position: int) -> tuple[Point, Branch, Tensor]:
        """The state of the search before `position` was decided; later states are dropped."""
        point = trail[position]
        del trail[position + 1 :]
        self.ledger.roll_back(position, cast(Choices, point.choices))  # a step that lies behind has made them
        return point, *self._replayed(point.beams)

    def _replayed(self, beams: Beams) -> tuple[Branch, Tensor]:
        """The running texts, fed again over the prompt's cache: the present caches continue other texts."""
        rows = torch.full((len(beams.tokens),), self.sample, device=beams.tokens.device)
        branch = self.task.prompt.fork(rows)
        logits = branch.feed(beams.tokens) if beams.length else self.task.logits[rows]
        return branch, logits
