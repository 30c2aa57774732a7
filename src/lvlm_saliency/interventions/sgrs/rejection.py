"""The selector of SGRS (arXiv 2601.20279, Eq. 6-7): score the candidates, draw, accept or refuse."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from lvlm_saliency.attention.parts import Selector
from lvlm_saliency.attention.state import Capture
from lvlm_saliency.decoding.draws import fresh_seed, pick, uniform
from lvlm_saliency.errors import NumericalError
from lvlm_saliency.interventions.sgrs.scoring import OutputScores, candidate_scores
from lvlm_saliency.model.output import TokenRecord

if TYPE_CHECKING:
    from lvlm_saliency.interventions.sgrs.method import SGRS


Scores = list[float | None]
"""S of each candidate of a sample; None where it is not computed."""


@dataclass
class Proposal:
    """The candidates of one sample at one step, most probable first, without tokens that a warper has excluded."""

    tokens: list[int]
    weights: list[float]


class SaliencyGate(Selector):
    """The selector of one generation under SGRS.

    Args:
        settings: the method.
        layers: its target layers.
        sample_ids: one number per sample, which draws depend on.
    """

    def __init__(self, settings: SGRS, layers: Sequence[int], sample_ids: Sequence[int]):
        self.settings = settings
        self.layers = list(layers)
        self.samples = list(sample_ids)
        self.seed = fresh_seed() if settings.seed is None else settings.seed
        self.history: list[deque[float]] = [deque(maxlen=settings.window) for _ in self.samples]
        self.backwards = 0

    def capture(self) -> Capture | None:
        """What the next decode step has to keep: the rows of the target layers, and the graph above the lowest."""
        self.drawn = OutputScores(self.layers)
        return self.drawn.capture()

    def propose(self, processed: Tensor) -> list[Proposal]:
        """The candidate set C of every sample: the top K of the processed distribution `[B, V]`."""
        probabilities = torch.softmax(processed.float(), dim=-1)
        weights, tokens = probabilities.topk(min(self.settings.top_k, probabilities.shape[-1]), dim=-1)
        proposals = []
        for row, chances in zip(tokens.tolist(), weights.tolist(), strict=True):
            possible = sum(chance > 0 for chance in chances)
            proposals.append(Proposal(row[:possible], chances[:possible]))
        return proposals

    def draw(self, sample: int, step: int, number: int, weights: Sequence[float]) -> int:
        """The index of the remaining candidate (most probable first) that draw `number` of this step takes."""
        if self.settings.order == "greedy":
            return 0
        return pick(weights, uniform(self.seed, self.samples[sample], step, number))

    def threshold(self, history: Sequence[float]) -> float | None:
        """tau = alpha * mean S of the last accepted tokens; None where none has a score yet."""
        return self.settings.alpha * sum(history) / len(history) if history else None

    def choose(
        self, step: int | Sequence[int], logits: Tensor, processed: Tensor, capture: Capture | None, active: list[bool]
    ) -> list[TokenRecord | None]:
        """Choose the next token of every sample.

        At first only the first draws are scored; where one of them is refused, the other candidates are scored too.

        Args:
            step: number of the generated token, from 0; one for all samples, or one for each.
            logits: raw `[B, 1, V]`, in the graph of `capture` where there is one.
            processed: float32 `[B, V]` after all processors and warpers.
            capture: of the forward pass that made the logits; None at step 0, where there is no output to score.
            active: which samples are not finished; only for those is a token scored and drawn.

        Returns:
            One record per sample, None for the finished.

        Raises:
            NumericalError: the S of a candidate is not finite.
        """
        proposals = self.propose(processed)
        steps = [step] * len(proposals) if isinstance(step, int) else step
        first = [self.draw(i, steps[i], 0, proposal.weights) for i, proposal in enumerate(proposals)]
        scores: list[Scores] = [[None] * len(proposal.tokens) for proposal in proposals]
        if capture is not None:
            drawn = torch.tensor([p.tokens[i] for p, i in zip(proposals, first, strict=True)])
            self.backwards += 1
            for sample, value in enumerate(self.drawn.of(logits, drawn[:, None], capture, keep_graph=True).tolist()):
                scores[sample][first[sample]] = value[-1]
            _check_finite(steps, proposals, scores, active)
            if any(alive and self._refused(i, cast(float, scores[i][first[i]])) for i, alive in enumerate(active)):
                self._score_all(logits, proposals, capture, scores)
                _check_finite(steps, proposals, scores, active)
        return [
            self._settle(i, steps[i], proposals[i], scores[i], first[i]) if alive else None
            for i, alive in enumerate(active)
        ]

    def _refused(self, sample: int, score: float) -> bool:
        threshold = self.threshold(self.history[sample])
        return threshold is not None and score < threshold

    def _score_all(self, logits: Tensor, proposals: list[Proposal], capture: Capture, scores: list[Scores]) -> None:
        width = max(len(proposal.tokens) for proposal in proposals)
        tokens = torch.tensor([(p.tokens + p.tokens[:1] * width)[:width] for p in proposals])
        self.backwards += 1
        found = candidate_scores(logits, tokens, capture, self.layers).tolist()
        for known, values in zip(scores, found, strict=True):
            for index, value in enumerate(values[: len(known)]):
                known[index] = value if known[index] is None else known[index]

    def _settle(self, sample: int, step: int, proposal: Proposal, scores: Scores, first: int) -> TokenRecord:
        """Draw until one is accepted; the chosen token's S enters the history."""
        history = self.history[sample]
        threshold = None if scores[first] is None else self.threshold(history)
        remaining, rejected, chosen = list(range(len(proposal.tokens))), list[int](), -1
        while remaining and len(rejected) < self.settings.max_draws:
            place = self.draw(sample, step, len(rejected), [proposal.weights[i] for i in remaining])
            drawn = remaining.pop(place)
            if threshold is None or cast(float, scores[drawn]) >= threshold:
                chosen = drawn
                break
            rejected.append(drawn)
        fallback = chosen < 0
        if fallback:
            chosen = max(range(len(scores)), key=lambda i: cast(float, scores[i]))
        score = scores[chosen]
        if score is not None:
            history.append(score)
        candidates = dict(zip(proposal.tokens, scores if rejected else _only(scores, chosen), strict=True))
        draws = len(rejected) + (not fallback)
        refused = [proposal.tokens[i] for i in rejected]
        return TokenRecord(proposal.tokens[chosen], score, threshold, draws, candidates, refused, fallback)


def _check_finite(steps: Sequence[int], proposals: list[Proposal], scores: list[Scores], active: list[bool]) -> None:
    """Raise NumericalError for a score that is not finite, which overflowing gradients cause."""
    for step, proposal, known, alive in zip(steps, proposals, scores, active, strict=True):
        for token, score in zip(proposal.tokens, known, strict=True):
            if alive and score is not None and not math.isfinite(score):
                raise NumericalError(
                    f"SGRS cannot score candidate {token} at step {step}: its S is {score}, because the gradients "
                    "overflow in this precision; run the model in bfloat16 or float32"
                )


def _only(scores: Scores, index: int) -> Scores:
    """The scores with all but one set to None: those computed only because another sample refused its draw are not part
    of this sample's record."""
    return [score if i == index else None for i, score in enumerate(scores)]
