"""DoLa: decoding by contrasting layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.attention.parts import Parts, Role, RunInfo
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.base import Method, choice, layer_numbers, number

if TYPE_CHECKING:
    from torch import Tensor

MODES = ("paper", "official_code")
BUCKETS = ("low", "high")
BUCKET = 20
"""Layers that a bucket holds at most: models of 40, 60 and 80 layers have two, three and four."""


@dataclass(frozen=True)
class DoLa(Method):
    """The log-probabilities of an early layer are subtracted from those of the last layer.

    "DoLa: Decoding by Contrasting Layers Improves Factuality in Large Language Models", ICLR 2024, arXiv 2309.03883.
    q_j is the output distribution read off hidden state j (0: the embeddings; no final norm), p that of the model. The
    premature layer M is the candidate whose q_j diverges most from p, chosen for each sample and step. The result is
    log p - contrast * log q_M among the tokens v with p(v) >= relative_top max p.

    Args:
        candidate_layers: numbers of hidden states, or "low" / "high": every second one of the lower or upper half, or
            of the lowest or highest 20 layers of a deeper model (as in the released commands: 0, 2, .., 18 and 40, 42,
            .., 58 of 60), without the embeddings where the head is tied to them. Long texts by LLaVA-1.5 in the
            literature: 0, 2, .., 14.
        relative_top: plausibility constraint, 0 for none. Paper: 0.1.
        contrast: 1 is DoLa; 0 (with relative_top=0) switches it off, bit-identically.
        mode: "paper": the Jensen-Shannon divergence, half KL(p || m) + half KL(q || m) with m = (p + q) / 2.
            "official_code": half KL(m || p) + half KL(m || q), which is what the released call computes; there it is
            also averaged over the batch, so that all samples share a layer, which is not followed. The default is
            "paper".
    """

    name: ClassVar[str] = "dola"
    paper: ClassVar[str] = "arXiv 2309.03883"
    edits: ClassVar[str] = "logits, against those of an earlier layer"
    cost: ClassVar[str] = "no extra pass; one more head product per candidate layer"
    composes: ClassVar[str] = "attention edits, sampling, sgrs (which scores the original logits); not with beams"

    candidate_layers: Sequence[int] | str = "low"
    relative_top: float = 0.1
    contrast: float = 1.0
    mode: str = "paper"

    def __post_init__(self) -> None:
        if isinstance(self.candidate_layers, str):
            choice("DoLa", "candidate_layers", self.candidate_layers, BUCKETS)
        else:
            object.__setattr__(self, "candidate_layers", layer_numbers("DoLa", self.candidate_layers))
        number("DoLa", "relative_top", self.relative_top, 0, 1)
        number("DoLa", "contrast", self.contrast, 0, 1e4)
        choice("DoLa", "mode", self.mode, MODES)

    def check_model(self, model: Any) -> None:
        self.layers(model)

    def layers(self, model: Any) -> list[int]:
        """The numbers of the hidden states that are candidates on this model, ascending.

        Raises:
            SettingError: the model does not have one of them.
        """
        from lvlm_saliency import hf

        count = len(hf.decoder_layers(model))
        if isinstance(self.candidate_layers, tuple):
            if self.candidate_layers[-1] >= count:
                raise SettingError(f"dola: candidate_layers are hidden states 0..{count - 1} of this model")
            return list(self.candidate_layers)
        first = 2 * hf.tied_head(model)  # with a tied head the embeddings' logits only repeat the input token
        begin = max((count + 1) // 2, count - BUCKET)  # of the upper bucket
        low, high = range(first, min((count + 1) // 2, BUCKET), 2), range(begin + begin % 2, count, 2)
        bucket = low if self.candidate_layers == "low" else high
        return list(bucket) or [count - 1]

    @property
    def roles(self) -> Role:
        return Role.LOGITS

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        from lvlm_saliency.decoding.hidden_states import EarlyExits

        exits = EarlyExits(model, self.layers(model) if self.contrast else [], self.combine)
        return Parts(shaper=exits, hooks=(exits,))

    def combine(self, logits: Tensor, early: list[Tensor]) -> Tensor:
        """float32 `[B, V]` of the model's logits and those of the candidate layers."""
        import torch

        from lvlm_saliency.decoding.contrast import constrained

        if not early:
            return constrained(logits, logits, self.relative_top)
        stack = torch.stack(early)  # [J, B, V]
        chosen = self.divergences(logits, stack).argmax(0)  # [B]
        premature = stack[chosen, torch.arange(len(logits), device=logits.device)]
        difference = torch.log_softmax(logits, dim=-1) - self.contrast * torch.log_softmax(premature, dim=-1)
        return constrained(difference, logits, self.relative_top)

    def divergences(self, logits: Tensor, early: Tensor) -> Tensor:
        """Float32 `[J, B]` between the last distribution `[B, V]` and each candidate's `[J, B, V]`, both as logits."""
        import torch

        log_p, log_q = torch.log_softmax(logits.float(), dim=-1), torch.log_softmax(early.float(), dim=-1)
        log_m = torch.logaddexp(log_p, log_q) - torch.log(torch.tensor(2.0))
        if self.mode == "official_code":
            return (log_m.exp() * (log_m - (log_p + log_q) / 2)).sum(-1)
        return ((log_p.exp() * (log_p - log_m)).sum(-1) + (log_q.exp() * (log_q - log_m)).sum(-1)) / 2
