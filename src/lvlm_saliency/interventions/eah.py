"""EAH: enhancing attention heads by the one with the densest vision sinks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from lvlm_saliency.interventions.base import AttentionMethod, check_layers, choice, layer_numbers, number

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.attention.edits import RowEdit
    from lvlm_saliency.attention.state import RowContext

MODES = ("paper", "official_code")
THRESHOLD = {"paper": 0.002, "official_code": 0.0008}


@dataclass(frozen=True)
class EAH(AttentionMethod):
    """In the lowest layers, all heads get the prompt's attention map of the head with the most vision sinks.

    "Shallow Focus, Deep Fixes: Enhancing Shallow Layers Vision Attention Sinks to Alleviate Hallucination in LVLMs",
    EMNLP 2025, arXiv 2411.09968. An image column is a vision sink of a head when the mean of its attention over the
    rows below is greater than the threshold. The head with the most sinks (the first of several, none where none has a
    sink) gives its map to all heads of the layer; values stay each head's own. The prompt's rows only: a decoded row
    has no rows below it. Every sample of a batch chooses its own head.

    Args:
        threshold: inf switches the method off, bit-identically. Default: the mode's.
        layers: decoder layers to act on. Default: the mode's.
        mode: "paper": threshold 0.002, the lowest two layers, mean over the rows below. "official_code": threshold
            0.0008, all layers (the switch for layers has no effect there), nothing is done where head 0 has the most,
            and the sum is divided by one more than the number of rows below (a constant there, for a prompt of 647
            tokens). The default is "paper", whose text says what the method is meant to do.
    """

    name: ClassVar[str] = "eah"
    paper: ClassVar[str] = "arXiv 2411.09968"
    edits: ClassVar[str] = "attention maps of the prompt"
    cost: ClassVar[str] = "no extra pass; the prompt's maps of its layers are read once"
    families: ClassVar[str] = "all that see pictures"
    composes: ClassVar[str] = "any other method; a text written under it cannot be traced under it"
    needs_picture: ClassVar[bool] = True

    threshold: float | None = None
    layers: Sequence[int] | None = None
    mode: str = "paper"

    def __post_init__(self) -> None:
        choice("EAH", "mode", self.mode, MODES)
        if self.threshold is not None:
            number("EAH", "threshold", self.threshold, 0)
        object.__setattr__(self, "layers", layer_numbers("EAH", self.layers))

    def check_model(self, model: Any) -> None:
        check_layers(model, self.layers)

    @property
    def edits_prompt(self) -> bool:
        """All rows of the prompt are those of one head."""
        return self.threshold != math.inf

    def edit_rows(self, context: RowContext) -> RowEdit | None:
        from lvlm_saliency.attention.edits import RowEdit

        if context.image is None or context.past >= context.prompt_length or self.threshold == math.inf:
            return None
        lowest = self.mode == "official_code" or context.layer < 2
        if not (lowest if self.layers is None else context.layer in self.layers):
            return None
        context.needs_whole_prompt("eah")
        head = self.densest_head(self._means(context), context.columns(context.image))
        return RowEdit(head=head) if bool((head >= 0).any()) else None

    def densest_head(self, means: Tensor, image: Tensor) -> Tensor:
        """The head with the most vision sinks, int64 `[B]`, -1 where no head has one.

        Args:
            means: float32 `[B, H, K]`, each column's mean attention; image: bool `[B, K]`.
        """
        import torch

        threshold = THRESHOLD[self.mode] if self.threshold is None else self.threshold
        count = ((means > threshold) & image[:, None]).sum(-1)  # [B, H]
        head = count.argmax(1)
        chosen = (count.amax(1) > 0) & ((head > 0) | (self.mode == "paper"))
        return torch.where(chosen, head, -1)

    def _means(self, context: RowContext) -> Tensor:
        """Mean attention to each column over the prompt's rows below it, float32 `[B, H, K]`."""
        rows, columns = context.rows, context.key_positions
        total: Tensor | None = None
        for block in rows.part(slice(0, min(context.new, context.prompt_length))).blocks():
            weights, _ = rows.probabilities(block)
            below = context.query_positions[block, None] > columns  # [t, K]
            part = (weights * below).sum(-2)
            total = part if total is None else total + part
        below = context.prompt_length - 1 - columns + (self.mode == "official_code")
        return cast("Tensor", total) / below.clamp_min(1)
