"""The state of a beam search over one sample. It is immutable: each step returns a new one, so a rollback keeps the
old.

Scores and stopping rule are those of transformers' own beam search (checked on every family of the tests).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rules:
    """How hypotheses of one sample are compared.

    Attributes:
        n_beams: number of beams.
        length_penalty: the score is the sum of log-probabilities divided by length ** length_penalty.
        early_stopping: True stops at n finished texts, False when a better one is unlikely, "never" when none can be
            better.
        prompt: number of prompt tokens that count towards the length; 0 counts the generated tokens alone.
        ends: int64 ids that end a text. Where the prompt counts, they do not, as in older releases of transformers.
        longest: largest number of generated tokens.
    """

    n_beams: int
    length_penalty: float
    early_stopping: bool | str
    prompt: int
    ends: tuple[int, ...]
    longest: int

    @property
    def considered(self) -> int:
        """Continuations considered per step: enough to leave n unfinished ones if every beam ends in every end
        token."""
        return max(2, 1 + len(self.ends)) * self.n_beams

    def score(self, total: float, length: int, last: int) -> float:
        """Score of a text of `length` tokens that ends with token `last`."""
        counted = length - (last in self.ends) if self.prompt else length
        score: float = total / (self.prompt + counted) ** self.length_penalty
        return score

    def attainable(self, total: float, length: int) -> float:
        """The best score that a running text of log-probability `total` can be assumed to reach."""
        if self.early_stopping == "never" and self.length_penalty > 0:
            length = self.longest
        score: float = total / (self.prompt + length) ** self.length_penalty
        return score


@dataclass(frozen=True)
class Hypothesis:
    """A finished text: its tokens int64 `[t]`, the sum of their log-probabilities, and its score."""

    tokens: Tensor
    total: float
    score: float


@dataclass(frozen=True)
class Beams:
    """The state of one sample's search.

    Attributes:
        tokens: int64 `[n, t]`, the running texts, best first.
        scores: float32 `[n]`, their log-probabilities.
        ended: the finished texts, best first, at most n.
        open: whether a running text may still beat the worst finished one.
        done: whether the search is over.
    """

    tokens: Tensor
    scores: Tensor
    ended: tuple[Hypothesis, ...] = ()
    open: bool = True
    done: bool = False

    @classmethod
    def start(cls, device: torch.device) -> Beams:
        """The state before the first token: one empty text."""
        return cls(torch.zeros(1, 0, dtype=torch.long, device=device), torch.zeros(1, device=device))

    @property
    def length(self) -> int:
        return self.tokens.shape[1]

    def best(self, count: int = 1) -> list[Hypothesis]:
        """The `count` best texts; running ones only where fewer have ended."""
        running = zip(self.tokens, self.scores.tolist(), strict=True)
        return [*self.ended, *(Hypothesis(tokens, total, total) for tokens, total in running)][:count]

    def advanced(self, log_probs: Tensor, rules: Rules, stops: Callable[[Tensor], Tensor]) -> Move:
        """One step of the search.

        Args:
            log_probs: float32 `[n, V]`, log-probability of each next token after each running text.
            stops: which of the texts int64 `[k, t + 1]` have ended, bool `[k]`.
        """
        vocabulary = log_probs.shape[-1]
        totals = (log_probs + self.scores[:, None]).flatten()
        totals, chosen = totals.topk(min(rules.considered, totals.numel()))
        parents, tokens = chosen // vocabulary, chosen % vocabulary
        grown = torch.cat([self.tokens[parents], tokens[:, None]], dim=-1)
        stopped = stops(grown)
        ended = self._with_ended(grown, totals.tolist(), stopped.tolist(), rules)
        running = (~stopped).nonzero().flatten()[: rules.n_beams]
        full = len(ended) == rules.n_beams
        still_open = self.open and len(running) > 0
        if still_open and full:
            best = rules.attainable(float(totals[running[0]]), grown.shape[1])
            still_open = best > ended[-1].score
        done = not still_open or (full and rules.early_stopping is True)
        beams = replace(self, tokens=grown[running], scores=totals[running], ended=ended, open=still_open, done=done)
        return Move(beams, parents[running], tokens[running])

    def _with_ended(
        self, grown: Tensor, totals: list[float], stopped: list[bool], rules: Rules
    ) -> tuple[Hypothesis, ...]:
        """The finished texts after this step; only the n best continuations may join them."""
        if not self.open or (len(self.ended) == rules.n_beams and rules.early_stopping is True):
            return self.ended
        new = [
            Hypothesis(grown[i], totals[i], rules.score(totals[i], grown.shape[1], int(grown[i, -1])))
            for i in range(min(rules.n_beams, len(stopped)))
            if stopped[i]
        ]
        return tuple(sorted([*self.ended, *new], key=lambda text: -text.score)[: rules.n_beams])


@dataclass(frozen=True)
class Move:
    """One step: the new state, and for each running text the row that it continues and the token added."""

    beams: Beams
    parents: Tensor
    tokens: Tensor
