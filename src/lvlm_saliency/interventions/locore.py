"""LocoRE: local coherence reinforcement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.interventions.base import AttentionMethod, check_layers, choice, layer_numbers, number

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.attention.edits import RowEdit
    from lvlm_saliency.attention.state import RowContext

SPACES = ("probability", "unnormalised", "logit")


@dataclass(frozen=True)
class LocoRE(AttentionMethod):
    """Attention of each new token to the last few output tokens is amplified, so that the text stays coherent.

    "Hallucination Begins Where Saliency Drops", ICLR 2026, arXiv 2601.20279, Eq. 8-9. For the query at position P,
    gamma_j = 1 + beta for the generated positions j with P - w <= j < P, and 1 elsewhere. The prompt is never touched.

    Args:
        beta: gain on the window; 0 switches the method off, bit-identically. Paper: 0.15 (LLaVA-1.5), 0.20 (Qwen2-VL).
        window: w, number of output tokens before the query whose attention is amplified (the paper gives no value).
        layers: decoder layers to act on, default all.
        space: where the gain acts. "probability": A' = gamma A / sum(gamma A). "unnormalised": A' = gamma A, rows sum
            to more than 1 (Eq. 9 read literally). "logit": score' = gamma score, before the softmax.
    """

    name: ClassVar[str] = "locore"
    paper: ClassVar[str] = "arXiv 2601.20279"
    edits: ClassVar[str] = "attention rows of decode steps"
    cost: ClassVar[str] = "no extra pass"
    minds_shift: ClassVar[bool] = True
    edits_prompt: ClassVar[bool] = False

    beta: float = 0.15
    window: int = 10
    layers: Sequence[int] | None = None
    space: str = "probability"

    def __post_init__(self) -> None:
        number("LocoRE", "beta", self.beta, 0, 1e4)
        number("LocoRE", "window", self.window, 1, whole=True)
        choice("LocoRE", "space", self.space, SPACES)
        object.__setattr__(self, "layers", layer_numbers("LocoRE", self.layers))

    def check_model(self, model: Any) -> None:
        check_layers(model, self.layers)

    @property
    def _bias(self) -> float:
        return math.log1p(self.beta)

    def kind_of_layer(self, layer: int) -> bool:
        """Whether the layer is edited; all edited layers share one edit."""
        return self.layers is None or layer in self.layers

    def edit_rows(self, context: RowContext) -> RowEdit | None:
        start = context.prompt_length
        last_query = context.past + context.new - 1
        if not self.beta or last_query <= start or not self.kind_of_layer(context.layer):
            return None
        return self._edit(context)

    def _edit(self, context: RowContext) -> RowEdit:
        import torch

        from lvlm_saliency.attention.edits import RowEdit

        start: int | Tensor = context.prompt_length
        if context.shift is not None:
            start = start + context.shift[:, None, None]  # [B, 1, 1]
        elif context.new == 1 and self.space == "probability":
            bias = torch.zeros((1, 1, 1, context.keys), device=context.device)
            first = max(context.prompt_length, context.past - self.window, context.offset) - context.offset
            bias[..., first : context.past - context.offset] = self._bias
            return RowEdit(bias=bias)
        queries, keys = context.query_positions[:, None], context.key_positions[None, :]
        boosted = (keys >= start) & (keys < queries) & (keys >= queries - self.window)
        boosted = boosted[None, None] if boosted.dim() == 2 else boosted[:, None]  # [1 or B, 1, T, K]
        if self.space == "probability":  # gamma A / sum(gamma A) is the softmax of score + log gamma
            return RowEdit(bias=torch.where(boosted, self._bias, 0.0))
        gamma = torch.where(boosted, 1.0 + self.beta, 1.0)
        return RowEdit(gain=gamma) if self.space == "unnormalised" else RowEdit(multiplier=gamma)
