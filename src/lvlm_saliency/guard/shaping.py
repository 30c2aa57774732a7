"""Contrast methods combined with a guard: their branches are rolled back together with the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.session import Session
from lvlm_saliency.decoding.contrast import Contrast
from lvlm_saliency.guard.strands import Start, Strand
from lvlm_saliency.tracing.logits import finite_logits


@dataclass(frozen=True)
class Shaping:
    """The shaper of logits of a guarded generation, and its branches.

    Attributes:
        shaper: makes the logits; None: the model's own are used.
        starts: the shaper's further prompts, after their forward pass.
        strands: its further texts, each in step with the main one.
    """

    shaper: Any = None
    starts: tuple[Start, ...] = ()
    strands: tuple[Strand, ...] = ()

    @classmethod
    def none(cls) -> Shaping:
        """The model's own logits."""
        return cls()

    @classmethod
    def of(cls, shaper: Any, session: Session) -> Shaping:
        """For a shaper; runs the prompts of its branches."""
        branches = shaper.branches if isinstance(shaper, Contrast) else ()
        return cls(shaper, tuple(_read(session, branch) for branch in branches))

    def over(self, strands: Sequence[Strand]) -> Shaping:
        """The same shaper over these further texts."""
        return replace(self, strands=tuple(strands))

    @property
    def first_only(self) -> bool:
        """Whether the further prompts affect the first token only, so that no further texts are needed."""
        return isinstance(self.shaper, Contrast) and self.shaper.first_only

    @property
    def late(self) -> bool:
        """Whether the processors act before the shaper, on the model's own logits."""
        return self.shaper is not None and self.shaper.behind_processors

    def shaped(self, logits: Tensor, beginning: Sequence[bool], first: bool) -> Tensor:
        """The shaped logits, float32 `[B, V]`.

        Args:
            logits: the model's own, `[B, V]`.
            beginning: which rows have an empty text.
            first: whether this is the first step after the prompts.
        """
        if self.shaper is None:
            return logits
        if not isinstance(self.shaper, Contrast):
            shaped: Tensor = self.shaper.shaped(logits)
            return shaped
        at_start = torch.tensor(list(beginning), device=logits.device)[:, None]
        others = []
        for strand in self.strands:
            begun = strand.start.logits
            if self.shaper.first_only:
                found = torch.where(at_start, finite_logits(begun).to(logits.device), logits)
            else:
                found = finite_logits(begun if first else strand.logits(None)).to(logits.device)
            others.append(found)
        return self.shaper.combine(logits, others)


def _read(session: Session, branch: Any) -> Start:
    """Run a branch's prompt as `Contrast` does."""
    with session.acting_on(branch.prompt, branch.editors), torch.no_grad():
        outputs = hf.prefill(branch.model, branch.ids, branch.config, branch.kwargs)
    kwargs = hf.advanced(branch.model, outputs, branch.kwargs)
    return Start(branch.ids, kwargs, hf.cache_of(kwargs), outputs.logits[:, -1], branch.prompt, branch.editors)
