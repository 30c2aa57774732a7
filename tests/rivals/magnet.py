"""A method for tests: from one layer on, every later token leans on one token of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.interventions.base import AttentionMethod


@dataclass(frozen=True)
class Magnet(AttentionMethod):
    """Adds `pull` to the scores of answer token `column`, in `layer`.

    own: whether that token leans on itself as well.
    """

    name: ClassVar[str] = "magnet"

    column: int = 11
    pull: float = 15.0
    layer: int = 2
    own: bool = False

    def edit_rows(self, context):
        at = context.prompt_length + self.column
        if context.layer != self.layer or context.past + context.new <= at + (not self.own):
            return None
        queries, keys = context.query_positions[:, None], context.key_positions[None, :]
        return RowEdit(bias=torch.where((keys == at) & (queries >= at + (not self.own)), self.pull, 0.0)[None, None])
