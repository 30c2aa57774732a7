"""PAI: paying more attention to the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.attention.parts import Parts, Role, RunInfo
from lvlm_saliency.interventions.base import (
    AttentionMethod,
    ContrastMethod,
    check_layers,
    choice,
    layer_numbers,
    number,
)

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.attention.edits import RowEdit
    from lvlm_saliency.attention.state import RowContext
    from lvlm_saliency.decoding.contrast import ContrastBranch

MODES = ("paper", "official_code")
SPARED = 2
"""The number of lowest layers that the paper does not edit."""


@dataclass(frozen=True)
class PAI(AttentionMethod, ContrastMethod):
    """Scores of image tokens are raised for the newest token, and the logits contrasted with those without the picture.

    "Paying More Attention to Image: A Training-Free Method for Alleviating Hallucination in LVLMs", ECCV 2024,
    arXiv 2407.21771. Before the softmax of the newest row (the prompt's last one and every decoded one), score' = score
    + alpha |score| on the image columns. Then, with a = log softmax(l) and u that of the image-free prompt, log p =
    gamma a - (gamma - 1) u among the tokens that are plausible under a.

    Args:
        alpha: gain on the image; 0 (with gamma=1) switches the method off, bit-identically. Released commands: 0.2; the
            paper chooses it per model (0.5 for long captions by LLaVA-1.5).
        gamma: guidance against the image-free prompt; 1 for none, which saves its passes. Released commands: 1.1.
        beta: plausibility constraint of the guidance, 0.1 in the code.
        layers: decoder layers in which scores are raised, default all but the lowest two.
        mode: "paper" raises the prompt's last row, too. "official_code" does not when guidance is on: the flag that
            spares the image-free pass is set one pass too early there, so that the first token is written without the
            gain, and answers of a single token never see it. There the guidance is also one of transformers' logits
            processors, so that other processors of the call (repetition_penalty, ...) act on the logits with the
            picture before the guidance; in "paper" they act after it. Temperature, top-k and top-p act after the
            guidance in both. The default is "paper".
    """

    name: ClassVar[str] = "pai"
    paper: ClassVar[str] = "arXiv 2407.21771"
    edits: ClassVar[str] = "scores of the newest row on the image; logits, against no picture"
    cost: ClassVar[str] = "one more pass per token over the text alone (none with gamma=1)"
    families: ClassVar[str] = "all that see pictures"
    composes: ClassVar[str] = "attention edits, sampling, sgrs; beams with gamma=1"
    needs_picture: ClassVar[bool] = True
    edits_prompt: ClassVar[bool] = False

    alpha: float = 0.2
    gamma: float = 1.1
    beta: float = 0.1
    layers: Sequence[int] | None = None
    mode: str = "paper"

    def __post_init__(self) -> None:
        number("PAI", "alpha", self.alpha, 0, 1e4)
        number("PAI", "gamma", self.gamma, 1, 1e4)
        number("PAI", "beta", self.beta, 0, 1)
        choice("PAI", "mode", self.mode, MODES)
        object.__setattr__(self, "layers", layer_numbers("PAI", self.layers))

    @property
    def extra_forwards(self) -> int:
        return int(self.gamma > 1)

    @property
    def guides(self) -> bool:
        """Whether the logits are contrasted with those of the prompt without the picture."""
        return self.gamma > 1

    @property
    def roles(self) -> Role:
        return Role.ROWS | Role.LOGITS if self.guides else Role.ROWS

    @property
    def behind_processors(self) -> bool:
        return self.mode == "official_code"

    def check_model(self, model: Any) -> None:
        check_layers(model, self.layers)

    def edit_rows(self, context: RowContext) -> RowEdit | None:
        import torch

        from lvlm_saliency.attention.edits import RowEdit

        first = context.prompt_length - 1  # the row that writes the first token
        if self.mode == "official_code" and self.guides:
            first += 1
        chosen = context.layer >= SPARED if self.layers is None else context.layer in self.layers
        if not self.alpha or not chosen or context.image is None or context.past + context.new <= first:
            return None
        newest = context.query_positions[:, None] >= first
        image = context.columns(context.image)[:, None, None, :]  # [B, 1, 1, K]
        return RowEdit(magnitude=torch.where(newest & image, self.alpha, 0.0))

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        shaper = ContrastMethod.bind(self, model, run).shaper if self.guides else None
        return Parts(editors=(self,), shaper=shaper)

    def contrast_branches(self, model: Any, inputs: dict[str, Any], numbers: Sequence[int]) -> list[ContrastBranch]:
        """The prompt without its pictures."""
        from lvlm_saliency.decoding.contrast import ContrastBranch
        from lvlm_saliency.interventions.prompts import without_pictures

        return [ContrastBranch(without_pictures(model, inputs))]

    def combine(self, logits: Tensor, others: list[Tensor]) -> Tensor:
        """float32 `[B, V]` of the logits with the picture and, where gamma > 1, without it."""
        if not others:
            return logits
        import torch

        from lvlm_saliency.decoding.contrast import constrained

        with_it, without = (torch.log_softmax(x, dim=-1) for x in (logits, others[0]))
        return constrained(self.gamma * with_it - (self.gamma - 1) * without, logits, self.beta)

    @property
    def _no_block(self) -> str:
        return "pai: guidance needs lvlm_saliency.generate; in a with block set gamma=1"
