"""The state of a beam search over one sample, as a value: a step makes a new one, so going back is keeping the old one.

Scores and the rule of when to stop are those of transformers' own beam search (checked on every family of the tests).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rules:
    """How hypotheses of one sample are compared.

    n_beams: how many run; length_penalty: exponent of the length that divides the sum of log-probabilities;
    early_stopping: True (stop at n finished texts), False (stop when none is likely to be beaten) or "never" (stop when
    none can be); prompt: tokens of the prompt that count towards the length, 0 when the generated ones alone do;
    ends: int64 ids that end a text (not counted where the prompt counts, as in older releases); longest: most tokens
    that may be generated.
    """

    n_beams: int
    length_penalty: float
    early_stopping: bool | str
    prompt: int
    ends: tuple[int, ...]
    longest: int

    @property
    def considered(self) -> int:
        """Continuations looked at per step: enough that n unfinished ones remain when n beams end in every way."""
        return max(2, 1 + len(self.ends)) * self.n_beams

    def score(self, total: float, length: int, last: int) -> float:
        """Score of a text of `length` tokens that ends with token `last`."""
        counted = length - (last in self.ends) if self.prompt else length
        score: float = total / (self.prompt + counted) ** self.length_penalty
        return score

    def attainable(self, total: float, length: int) -> float:
        """The best score that a running text with log-probability `total` is taken to reach."""
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
    """tokens: int64 `[n, t]`, the running texts, best first; scores: float32 `[n]`, their log-probabilities; ended: the
    finished texts, best first, at most n; open: whether a running text may still beat the worst of them; done: whether
    the search is over."""

    tokens: Tensor
    scores: Tensor
    ended: tuple[Hypothesis, ...] = ()
    open: bool = True
    done: bool = False

    @classmethod
    def start(cls, device: torch.device) -> Beams:
        """Before the first token there is one text, the empty one."""
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
    """A step taken: the new state, and for each of its running texts the row it continues and the token added."""

    beams: Beams
    parents: Tensor
    tokens: Tensor
