"""Contrastive decoding: the same text is continued over other inputs, or under other attention, and the logits
combined.

Every branch has its own prompt, cache and positions, is prepared by the model's own `generate`, and is fed the tokens
that were chosen for the main text. The combined logits then go through processors, warpers and the ordinary choice of a
token.
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
from lvlm_saliency.model.regions import PIXELS
from lvlm_saliency.tracing.logits import finite_logits


@dataclass
class ContrastBranch:
    """A second forward pass beside the main one.

    Attributes:
        inputs: as a processor makes them, with as many samples as the main inputs.
        editors: attention edits of this branch alone.
        encoding: returns the context manager in which the branch's pictures are encoded.
    """

    inputs: dict[str, Any]
    editors: Sequence[RowEditor] = ()
    encoding: Callable[[], AbstractContextManager[None]] = nullcontext


class Contrast(Shaper):
    """The branches of one generation.

    Args:
        branches: called once the generation is prepared; returns the branches.
        combine: `(main logits, list of the branches' logits) -> logits`, all float32 `[B, V]`.
        first_only: the branches run over their prompts only; from the second token on the main logits take their place.
        late: logits processors act on the main logits before they are combined (`Shaper.behind_processors`).
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
        """Prepare the branches, before the forward pass over the main prompt."""
        self.branches = [_RunningBranch(generation, branch) for branch in self.wanted(generation)]

    def shaped(self, logits: Tensor) -> Tensor:
        """The combined logits of the step whose main logits are float32 `[B, V]`."""
        if self.first_only and any(branch.begun for branch in self.branches):
            return self.combine(logits, [logits] * len(self.branches))
        others = [branch.logits().to(logits.device) for branch in self.branches]
        return self.combine(logits, others)

    def append(self, tokens: Tensor) -> None:
        """Append the chosen tokens, int64 `[B]`, to every branch."""
        for branch in self.branches:
            branch.ids = torch.cat([branch.ids, tokens[:, None].to(branch.ids.device)], dim=-1)


class _RunningBranch:
    """A branch while it is continued."""

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
        """The branch's logits after its last token, float32 `[B, V]`."""
        with self.session.acting_on(self.prompt, self.editors), torch.no_grad():
            if self.begun:
                new = 1 if self.kwargs.get("use_cache", True) else None
                outputs = self.model(**hf.next_inputs(self.model, self.ids, new, self.kwargs), return_dict=True)
            else:
                outputs, self.begun = hf.prefill(self.model, self.ids, self.config, self.kwargs), True
        self.kwargs = hf.advanced(self.model, outputs, self.kwargs)
        return finite_logits(outputs.logits[:, -1])


def plausible(logits: Tensor, beta: float) -> Tensor:
    """The adaptive plausibility constraint, bool `[B, V]`: p(v) >= beta * max p; the most probable token always
    passes."""
    return logits >= logits.amax(dim=-1, keepdim=True) + (math.log(beta) if beta > 0 else float("-inf"))


def constrained(combined: Tensor, logits: Tensor, beta: float) -> Tensor:
    """`combined` where the original branch's `logits` are plausible, -inf elsewhere."""
    return combined if beta == 0 else combined.masked_fill(~plausible(logits, beta), float("-inf"))


def whole_pictures(owner: str, inputs: Mapping[str, Any]) -> Tensor:
    """As `with_pictures`, for a method that changes `pixel_values` and so needs the whole picture to be there.

    Raises:
        SettingError: there are no pictures, or the model also sees them through another input (crops, for example),
            which the method would leave unchanged.
    """
    pixels = with_pictures(owner, inputs)
    others = [key for key in inputs if key != "pixel_values" and key.startswith(("pixel_values", "image_pixel_values"))]
    if seen := [key for key in others if isinstance(inputs[key], Tensor) and inputs[key].numel()]:
        also = "also sees" if isinstance(inputs.get("pixel_values"), Tensor) else "sees"
        raise SettingError(f"{owner} changes pixel_values, and this model {also} {', '.join(seen)}: leave it out")
    return pixels


def with_pictures(owner: str, inputs: Mapping[str, Any]) -> Tensor:
    """The pictures as the processor made them, under whatever name.

    Raises:
        SettingError: there are none.
    """
    for name in PIXELS:
        pixels = inputs.get(name)
        if name != "pixel_values_videos" and isinstance(pixels, Tensor) and pixels.numel():
            return pixels
    raise SettingError(f"{owner} acts on the picture, and the inputs hold none (no pixel_values): leave it out")
