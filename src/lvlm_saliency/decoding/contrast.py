"""Contrastive decoding: the same tokens over other inputs, or under other attention, and logits that combine both.

Every branch has its own prompt, its own cache and its own positions, is prepared by the model's own `generate`, and is
fed the tokens that were chosen for the main text. The combined logits then go through processors, warpers and the
ordinary choice of a token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.parts import Generation, RowEditor, Shaper
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.errors import SettingError
from lvlm_saliency.tracing.logits import finite_logits


@dataclass
class ContrastBranch:
    """Another way to read what came in. inputs: as a processor makes them, as many samples as the main ones; editors:
    attention edits of this branch alone; encoding: the context in which its pictures are encoded."""

    inputs: dict[str, Any]
    editors: Sequence[RowEditor] = ()
    encoding: Callable[[], AbstractContextManager[None]] = nullcontext


class Contrast(Shaper):
    """The branches of one generation; `combine(logits, others)` makes one float32 `[B, V]` of the branches' logits.

    `branches(generation)` gives them once the generation is prepared. With `first_only` they read their prompts and no
    more: from the second token on the main logits stand in for theirs. With `late` the main logits come in as the
    processors leave them (see `Run`).
    """

    def __init__(
        self,
        branches: Callable[[Generation], Sequence[ContrastBranch]],
        combine: Callable[[Tensor, list[Tensor]], Tensor],
        first_only: bool = False,
        late: bool = False,
    ):
        self.wanted, self.combine, self.first_only, self.late = branches, combine, first_only, late
        self.branches: list[_RunningBranch] = []

    @property
    def behind_processors(self) -> bool:
        return self.late

    def open(self, generation: Generation) -> None:
        """Prepare the branches for the generation's rows and tokens, before the main prompt pass."""
        self.branches = [_RunningBranch(generation, branch) for branch in self.wanted(generation)]

    def shaped(self, logits: Tensor) -> Tensor:
        """The combined logits of the step whose main logits are float32 `[B, V]`."""
        if self.first_only and any(branch.begun for branch in self.branches):
            return self.combine(logits, [logits] * len(self.branches))
        others = [branch.logits().to(logits.device) for branch in self.branches]
        return self.combine(logits, others)

    def append(self, tokens: Tensor) -> None:
        """The tokens int64 `[B]` that were chosen go into every branch."""
        for branch in self.branches:
            branch.ids = torch.cat([branch.ids, tokens[:, None].to(branch.ids.device)], dim=-1)


class _RunningBranch:
    """One input in the course of being continued."""

    def __init__(self, generation: Generation, branch: ContrastBranch):
        self.model, self.session, self.editors = generation.model, generation.open_session, branch.editors
        rows, samples = len(generation.input_ids), len(branch.inputs["input_ids"])
        length = generation.config.max_length - generation.input_ids.shape[1]
        use_cache = generation.model_kwargs.get("use_cache", True)
        with branch.encoding():
            hf.refuse_held_states(self.model)
            prepared = hf.prepared_alone(self.model, branch.inputs, length, rows // samples, use_cache)
        self.ids, self.config, self.kwargs = prepared
        self.prompt = Prompt.read(self.model, self.ids, self.kwargs.get("attention_mask"), self.ids.shape[1])
        self.begun = False

    def logits(self) -> Tensor:
        """The branch's logits behind its last token, float32 `[B, V]`."""
        with self.session.acting_on(self.prompt, self.editors), torch.no_grad():
            if self.begun:
                new = 1 if self.kwargs.get("use_cache", True) else None
                outputs = self.model(**hf.next_inputs(self.model, self.ids, new, self.kwargs), return_dict=True)
            else:
                outputs, self.begun = hf.prefill(self.model, self.ids, self.config, self.kwargs), True
        self.kwargs = hf.advanced(self.model, outputs, self.kwargs)
        return finite_logits(outputs.logits[:, -1])


def plausible(logits: Tensor, beta: float) -> Tensor:
    """The adaptive plausibility constraint, bool `[B, V]`: p(v) >= beta * max p; the most probable is always kept."""
    return logits >= logits.amax(dim=-1, keepdim=True) + (math.log(beta) if beta > 0 else float("-inf"))


def constrained(combined: Tensor, logits: Tensor, beta: float) -> Tensor:
    """`combined` where the original branch's `logits` are plausible, -inf elsewhere."""
    return combined if beta == 0 else combined.masked_fill(~plausible(logits, beta), float("-inf"))


def whole_pictures(owner: str, inputs: Mapping[str, Any]) -> Tensor:
    """As `with_pictures`, where `pixel_values` are all that the model sees of its pictures.

    Raises:
        SettingError: there are none, or the processor keeps a part of the pictures (their crops, say) elsewhere, which
            would stay as it is.
    """
    pixels = with_pictures(owner, inputs)
    others = [key for key in inputs if key != "pixel_values" and key.startswith("pixel_values")]
    if seen := [key for key in others if isinstance(inputs[key], Tensor) and inputs[key].numel()]:
        raise SettingError(f"{owner} changes pixel_values, and this model also sees {', '.join(seen)}: leave it out")
    return pixels


def with_pictures(owner: str, inputs: Mapping[str, Any]) -> Tensor:
    """The pictures as the processor made them.

    Raises:
        SettingError: there are none.
    """
    pixels = inputs.get("pixel_values")
    if not isinstance(pixels, Tensor) or not pixels.numel():
        raise SettingError(f"{owner} acts on the picture, and the inputs hold none (no pixel_values): leave it out")
    return pixels
