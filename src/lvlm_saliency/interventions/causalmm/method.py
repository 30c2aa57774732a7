"""CausalMM: counterfactual attention."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.attention.parts import RowEditor
from lvlm_saliency.errors import UnsupportedModelError
from lvlm_saliency.interventions.base import ContrastMethod, check_layers, choice, layer_numbers, number, seed_number

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.attention.edits import RowEdit
    from lvlm_saliency.attention.state import RowContext
    from lvlm_saliency.decoding.contrast import ContrastBranch

MODES = ("paper", "official_code")
BRANCHES = ("language", "vision", "both")
LANGUAGE_EDITS = ("reverse", "uniform", "random")
VISION_EDITS = ("shuffle", "reverse", "uniform", "random")


@dataclass(frozen=True)
class CausalMM(ContrastMethod):
    """The logits under counterfactual attention are subtracted, which leaves the effect of attention without the
    priors.

    "Mitigating Modality Prior-Induced Hallucinations in Multimodal Large Language Models via Deciphering Attention
    Causality", ICLR 2025, arXiv 2410.04780. logits = (1 + n gamma) l - gamma (sum of the n branches' l'), among the
    tokens with p(v) >= epsilon max p under l. The language branch replaces every attention row, the vision branch
    weighs the image features before the projector with an edited attention map of the tower (brought to the features'
    grid and averaged over heads, as released: the tower itself is not run again).

    Released for Qwen2-VL is the language branch alone, for LLaVA the vision branch alone; which layers is not in the
    code.

    Args:
        gamma: weight of each contrast; 0 (with epsilon=0) switches the method off, bit-identically. Released: 1.
        epsilon: plausibility constraint. Released: 0.1 (0.6 in the script for POPE).
        branch: "language" (every family; the default), "vision" (LLaVA-1.5), or "both" (two more passes per token).
        language_edit: A' of a row: "reverse" max(A) - A, "uniform" 1 / visible keys, "random".
        vision_edit: "shuffle" a permutation of the whole map per head (the released default), "reverse" max - A,
            "uniform" the mean of each head, "random" twice a uniform number.
        normalise: bring edited rows to sum 1. The README has both for "reverse", whose rows otherwise sum to far more.
        layers: decoder layers that the language branch edits, default all.
        seed: of "shuffle" and "random", by sample; None takes one from torch's generator.
        mode: "paper": every branch keeps a cache of its own and is subtracted at every token. "official_code": in the
            released decode loop the branches go on from the factual cache after the first token, so that from the
            second one on nothing is subtracted and only the plausibility constraint acts; one-word answers are the
            same. There "uniform" and "random" rows are also brought to sum 1 over the whole prompt before the mask
            takes away what a row does not see, so that early rows sum to less ("reverse" is masked first, there too);
            here a row's visible keys sum to 1. The default is "paper".
    """

    name: ClassVar[str] = "causalmm"
    paper: ClassVar[str] = "arXiv 2410.04780"
    edits: ClassVar[str] = "logits, against counterfactual attention"
    cost: ClassVar[str] = (
        "one more pass per token and branch, a second prompt and cache; as released, that prompt alone"
    )
    families: ClassVar[str] = "all; branch='vision': LLaVA-1.5"

    gamma: float = 1.0
    epsilon: float = 0.1
    branch: str = "language"
    language_edit: str = "reverse"
    vision_edit: str = "shuffle"
    normalise: bool = True
    layers: Sequence[int] | None = None
    seed: int | None = None
    mode: str = "paper"

    def __post_init__(self) -> None:
        choice("CausalMM", "mode", self.mode, MODES)
        number("CausalMM", "gamma", self.gamma, 0, 1e4)
        number("CausalMM", "epsilon", self.epsilon, 0, 1)
        choice("CausalMM", "branch", self.branch, BRANCHES)
        choice("CausalMM", "language_edit", self.language_edit, LANGUAGE_EDITS)
        choice("CausalMM", "vision_edit", self.vision_edit, VISION_EDITS)
        seed_number("CausalMM", self.seed)
        object.__setattr__(self, "layers", layer_numbers("CausalMM", self.layers))

    @property
    def needs_picture(self) -> bool:
        return self.branch != "language"

    @property
    def extra_forwards(self) -> int:
        return 0 if self.first_only else (1 + (self.branch == "both")) * (self.gamma > 0)

    @property
    def first_only(self) -> bool:
        return self.mode == "official_code" and self.gamma > 0

    def check_model(self, model: Any) -> None:
        check_layers(model, self.layers)
        if self.branch != "language":
            from lvlm_saliency.interventions.causalmm.counterfactual import clip_tower

            if clip_tower(model) is None:
                raise UnsupportedModelError(
                    "causalmm: the vision branch is defined for one CLIP picture before a projector (LLaVA-1.5); "
                    "use branch='language'"
                )

    def contrast_branches(self, model: Any, inputs: dict[str, Any], numbers: Sequence[int]) -> list[ContrastBranch]:
        """The same inputs under edited attention of the language model, and with edited image features."""
        from lvlm_saliency.decoding.contrast import ContrastBranch
        from lvlm_saliency.decoding.draws import fresh_seed
        from lvlm_saliency.interventions.causalmm.counterfactual import weighed_features

        seed = fresh_seed() if self.seed is None else self.seed
        found = []
        if self.branch != "vision":
            found.append(ContrastBranch(inputs, (_EditedRows(self, seed, tuple(numbers)),)))
        if self.branch != "language":
            found.append(
                ContrastBranch(inputs, encoding=weighed_features(model, self.vision_edit, seed, inputs, numbers))
            )
        return found

    def combine(self, logits: Tensor, others: list[Tensor]) -> Tensor:
        """float32 `[B, V]` of the factual logits and those of the branches."""
        from lvlm_saliency.decoding.contrast import constrained

        contrast = logits
        for other in others:
            contrast = contrast + self.gamma * (logits - other)
        return constrained(contrast, logits, self.epsilon)


@dataclass(frozen=True)
class _EditedRows(RowEditor):
    """The language branch's edit of attention rows."""

    name: ClassVar[str] = "causalmm"

    settings: CausalMM
    seed: int
    numbers: tuple[int, ...]

    def edit_rows(self, context: RowContext) -> RowEdit | None:
        import torch

        from lvlm_saliency.attention.edits import RowEdit
        from lvlm_saliency.interventions.causalmm.counterfactual import edited_rows, hashed_uniform

        settings = self.settings
        if settings.layers is not None and context.layer not in settings.layers:
            return None

        def rewrite(weights: Tensor, visible: Tensor, block: slice) -> Tensor:
            noise = total = None
            pads = torch.zeros(len(weights), dtype=torch.int64, device=weights.device)
            if context.padding is not None:
                pads += context.padding.sum(1).to(pads).repeat_interleave(len(pads) // len(context.padding))
            if settings.language_edit == "random":
                numbers = torch.tensor(self.numbers, device=weights.device)
                numbers = numbers.repeat_interleave(len(weights) // len(numbers))
                drawn = functools.partial(hashed_uniform, self.seed, numbers, context.layer, weights.shape[1])
                noise = drawn(context.query_positions[block], context.key_positions, pads)
            if settings.first_only and settings.normalise:  # as released: over all keys of the prompt, also later ones
                keys = torch.arange(context.prompt_length, device=weights.device)
                total = (keys >= pads[:, None])[:, None, None].float()
                if noise is not None:
                    total = drawn(context.query_positions[block], keys, pads) * total
                total = total.sum(-1, keepdim=True)
            return edited_rows(weights, visible, settings.language_edit, settings.normalise, noise, total)

        return RowEdit(rewrite=rewrite)
