"""OPERA: over-trust penalty and retrospection-allocation on beam search."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.interventions.base import choice, number
from lvlm_saliency.interventions.beam import BeamMethod, check_beams

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.decoding.search import Found, Task

MODES = ("official_code", "paper")


@dataclass(frozen=True)
class OPERA(BeamMethod):
    """Candidates whose attention concentrates on one earlier token of the answer are penalised; where all beams keep
    concentrating on the same token, the search rolls back to it and decides again.

    "OPERA: Alleviating Hallucination in Multi-Modal Large Language Models via Over-Trust Penalty and
    Retrospection-Allocation", CVPR 2024, arXiv 2311.17911. The last layer's row of each candidate (max over heads,
    brought to sum 1) gives log phi_j = sum_i log(sigma R[i, j]) for each answer token j; max_j phi_j is the penalty.

    Differences from the released code, in both modes: computed in the log domain and in float64 (the code overflows
    float16); any batch size; a candidate stays ahead of all other tokens, however large its penalty (in the code it may
    fall behind arbitrary ones); the first step offers each beam a candidate; tokens refused after a position are
    allowed again when the search rolls back to it (the code clears other positions); an error is never taken for "no
    rollback". A rollback feeds the kept tokens again over the prompt's cache.

    Args:
        n_beams, length_penalty, early_stopping, length_norm: as in `Beam`. The released code runs 5 beams, with
            length_norm="full".
        alpha: weight of the penalty. Both: 1.
        sigma: factor on attention within the product. Both: 50.
        threshold: r, the number of steps that must have voted for the same column; inf never rolls back. Both: 15.
        candidates: N_can, candidate tokens per beam. Both: 5; the code's fast setting: 1, threshold 25.
        max_rollbacks: beta, how often one position may be decided again; None for the mode's own.
        mode: "official_code" (default): phi has a factor 1e-7; attention to the picture is rewarded instead while the
            answer has at most 10 tokens; rolls back when the count exceeds r, never to a summary token before position
            10; decides the token again over the whole vocabulary, without what was chosen there; beta = N_can.
            "paper": phi without the factor, which outweighs every logit after a dozen tokens; rolls back when the count
            reaches r, never further than the last time; decides again among penalised candidates; beta = 5.
            The published figures are the code's, so that is the default.
    """

    name: ClassVar[str] = "opera"
    paper: ClassVar[str] = "arXiv 2311.17911"
    edits: ClassVar[str] = "choice of the text"
    cost: ClassVar[str] = "n_beams * candidates rows per token, one pass; two more passes per rollback"
    composes: ClassVar[str] = "attention edits"

    n_beams: int = 5
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    length_norm: str = "generated"
    alpha: float = 1.0
    sigma: float = 50.0
    threshold: float = 15
    candidates: int = 5
    max_rollbacks: int | None = None
    mode: str = "official_code"

    def __post_init__(self) -> None:
        owner = type(self).__name__
        check_beams(owner, self)
        number(owner, "alpha", self.alpha, 0, 1e4)
        number(owner, "sigma", self.sigma, 1e-6, 1e6)
        if self.threshold != math.inf:
            number(owner, "threshold", self.threshold, 1)
        number(owner, "candidates", self.candidates, 1, 1000, whole=True)
        if self.max_rollbacks is not None:
            number(owner, "max_rollbacks", self.max_rollbacks, 0, whole=True)
        choice(owner, "mode", self.mode, MODES)

    @property
    def rollback_limit(self) -> int:
        """beta: how often one position may be decided again."""
        if self.max_rollbacks is not None:
            return self.max_rollbacks
        return 5 if self.mode == "paper" else self.candidates

    @property
    def measures(self) -> bool:
        """Whether attention has any effect; if not, this is beam search over the candidates."""
        return bool(self.alpha) or self.threshold != math.inf

    @property
    def rows_per_token(self) -> int:
        """Tokens that go through the model for each generated one (greedy decoding: 1), rollbacks not counted."""
        return self.n_beams * (self.candidates if self.measures else 1)

    @property
    def one_by_one(self) -> bool:
        """Whether the samples of a batch are searched one after the other, each in passes of its own."""
        return self.measures

    def tapped_layer(self, model: Any) -> int:
        """Number of the decoder layer whose attention is read: the last that has attention."""
        from lvlm_saliency import hf

        return hf.attention_layers(model)[-1]

    def search(self, task: Task) -> list[Found]:
        """The best texts of every sample; see `decoding.search`. Samples are searched one after the other."""
        if not self.measures:
            from lvlm_saliency.decoding.beam_search import beam_search

            return beam_search(task, functools.partial(_over_candidates, self))
        from lvlm_saliency.interventions.opera.retrospection import Retrospection

        layer = self.tapped_layer(task.model)
        return [Retrospection(self, task, sample, layer).run() for sample in range(len(task.rules))]


def _over_candidates(method: OPERA, logits: Tensor, step: int) -> Tensor:
    from lvlm_saliency.interventions.opera.over_trust import candidate_ids, candidate_log_probs

    return candidate_log_probs(logits, candidate_ids(logits, method, step))
