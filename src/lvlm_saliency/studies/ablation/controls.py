"""Controls for SGRS and LocoRE: the same procedure without the part that is claimed to matter. For studies only."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.attention.state import RowContext
from lvlm_saliency.decoding.draws import uniform
from lvlm_saliency.interventions.locore import LocoRE
from lvlm_saliency.interventions.sgrs import SGRS
from lvlm_saliency.interventions.sgrs.rejection import SaliencyGate
from lvlm_saliency.interventions.sgrs.scoring import candidate_scores


class _AllScored(SaliencyGate):
    """The gate with every candidate scored before the first draw, so that a control may alter the scores."""

    def altered(self, sample: int, step: int, scores: list[float]) -> list[float]:
        return scores

    def choose(self, step: Any, logits: Any, processed: Any, capture: Any, active: Any) -> Any:
        proposals = self.propose(processed)
        scores: list[list[Any]] = [[None] * len(one.tokens) for one in proposals]
        if capture is not None:
            width = max(len(one.tokens) for one in proposals)
            tokens = torch.tensor([(one.tokens + one.tokens[:1] * width)[:width] for one in proposals])
            self.backwards += 1
            found = candidate_scores(logits, tokens, capture, self.layers).tolist()
            scores = [self.altered(i, step, row[: len(scores[i])]) for i, row in enumerate(found)]
        return [
            self._settle(i, step, one, scores[i], self.draw(i, step, 0, one.weights)) if active[i] else None
            for i, one in enumerate(proposals)
        ]


class _ShuffledGate(_AllScored):
    def altered(self, sample: int, step: int, scores: list[float]) -> list[float]:
        # Numbers from 1000 on: top_k is at most 1000, so that no draw of the gate shares one with the permutation.
        keys = [uniform(self.seed, self.samples[sample], step, 1000 + k) for k in range(len(scores))]
        return [scores[k] for k in sorted(range(len(scores)), key=keys.__getitem__)]


class _TurnedGate(_AllScored):
    def altered(self, sample: int, step: int, scores: list[float]) -> list[float]:
        return [-score for score in scores]

    def threshold(self, history: Sequence[float]) -> float | None:
        alpha = self.settings.alpha
        return sum(history) / len(history) / alpha if history and alpha else None


class _WordGate(_AllScored):
    @property
    def gated(self) -> tuple[int, ...]:
        """The tokens that may be refused."""
        assert isinstance(self.settings, ObjectSGRS)
        return self.settings.token_ids

    def _settle(self, sample: Any, step: Any, proposal: Any, scores: Any, first: Any) -> Any:
        history = self.history[sample]
        threshold = self.threshold(history)
        if threshold is None or scores[first] is None:
            return super()._settle(sample, step, proposal, scores, first)
        gated = self.gated
        lifted = [
            score if token in gated else max(score, threshold)
            for token, score in zip(proposal.tokens, scores, strict=True)
        ]
        taken = super()._settle(sample, step, proposal, lifted, first)
        raw = dict(zip(proposal.tokens, scores, strict=True))
        history[-1] = raw[taken.token_id]
        told = {token: None if value is None else raw[token] for token, value in taken.candidates.items()}
        return dataclasses.replace(taken, score=history[-1], candidates=told)


@dataclass(frozen=True)
class _GatedOtherwise(SGRS):
    """SGRS step by step, with `gate` in place of its own."""

    gate: ClassVar[type[SaliencyGate]]
    execution: str = "stepwise"

    def selector(self, model: Any, sample_ids: Any) -> Any:
        return self.gate(self, self.target_layers(model), sample_ids)


@dataclass(frozen=True)
class ShuffledSGRS(_GatedOtherwise):
    """SGRS with the scores of each step's candidates permuted at random, by (seed, sample, step)."""

    name: ClassVar[str] = "sgrs-shuffled"
    gate: ClassVar[type[SaliencyGate]] = _ShuffledGate


@dataclass(frozen=True)
class TurnedSGRS(_GatedOtherwise):
    """SGRS with its sign turned: a candidate is accepted when S <= mean S of the recent tokens / alpha; after
    `max_draws` refusals the one of the smallest S is taken. Its record holds -S."""

    name: ClassVar[str] = "sgrs-turned"
    gate: ClassVar[type[SaliencyGate]] = _TurnedGate


@dataclass(frozen=True)
class ObjectSGRS(_GatedOtherwise):
    """SGRS that may refuse only the tokens `token_ids`, those that open an object word."""

    name: ClassVar[str] = "sgrs-objects"
    gate: ClassVar[type[SaliencyGate]] = _WordGate
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class ScatteredLocoRE(LocoRE):
    """LocoRE with as many boosted output positions, placed at random: a function of (seed, query position)."""

    name: ClassVar[str] = "locore-scattered"
    minds_shift: ClassVar[bool] = False
    seed: int = 0

    def _edit(self, context: RowContext) -> RowEdit:
        start = context.prompt_length
        queries, keys = context.query_positions.tolist(), context.key_positions
        rows = [torch.isin(keys, torch.tensor(self.chosen(q - start), device=keys.device) + start) for q in queries]
        boosted = torch.stack(rows)[None, None]
        gamma = torch.where(boosted, 1.0 + self.beta, 1.0)
        if self.space == "probability":
            return RowEdit(bias=gamma.log())
        return RowEdit(gain=gamma) if self.space == "unnormalised" else RowEdit(multiplier=gamma)

    def chosen(self, written: int) -> list[int]:
        """Which of the `written` output positions before the query are boosted, from 0."""
        written = max(0, written)
        return sorted(random.Random(f"{self.seed}:{written}").sample(range(written), min(self.window, written)))
