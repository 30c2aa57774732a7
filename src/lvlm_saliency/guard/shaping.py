"""Contrast methods beside a guard: their branches are rolled back together with the text."""

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
    """shaper: what makes the logits, or None; starts: its further prompts, read; strands: its further texts, each in
    step with the main one."""

    shaper: Any = None
    starts: tuple[Start, ...] = ()
    strands: tuple[Strand, ...] = ()

    @classmethod
    def none(cls) -> Shaping:
        """The model's own logits."""
        return cls()

    @classmethod
    def of(cls, shaper: Any, session: Session) -> Shaping:
        """With the prompts of the shaper's branches read."""
        branches = shaper.branches if isinstance(shaper, Contrast) else ()
        return cls(shaper, tuple(_read(session, branch) for branch in branches))

    def over(self, strands: Sequence[Strand]) -> Shaping:
        """The same over these further texts."""
        return replace(self, strands=tuple(strands))

    @property
    def first_only(self) -> bool:
        """Whether the further prompts count for the first token alone, so that no further text is written."""
        return isinstance(self.shaper, Contrast) and self.shaper.first_only

    @property
    def late(self) -> bool:
        """Whether the processors act on the model's own logits, before these are shaped."""
        return self.shaper is not None and self.shaper.behind_processors

    def shaped(self, logits: Tensor, beginning: Sequence[bool], first: bool) -> Tensor:
        """The logits to go on with, float32 `[B, V]`. beginning: rows whose text is empty; first: nothing has been fed
        since the prompts were read."""
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
    """A branch's prompt, read as `Contrast` reads it."""
    with session.acting_on(branch.prompt, branch.editors), torch.no_grad():
        outputs = hf.prefill(branch.model, branch.ids, branch.config, branch.kwargs)
    kwargs = hf.advanced(branch.model, outputs, branch.kwargs)
    return Start(branch.ids, kwargs, hf.cache_of(kwargs), outputs.logits[:, -1], branch.prompt, branch.editors)
