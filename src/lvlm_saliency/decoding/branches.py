"""Texts that share a prompt: its cache is filled once, and every text goes on from a fork of it.

Nothing is ever cropped, so sliding windows and recurrent states need no special care: going back is forking again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.tracing.one_pass import finite_logits


@dataclass
class Branch:
    """Rows of text in progress: ids int64 `[R, L]`, all of them in the cache."""

    model: Any
    ids: Tensor
    cache: Any
    kwargs: dict
    one_by_one: bool = False
    """Feed several tokens one after the other: layers with a recurrent state, or edits that look at the last row."""

    @classmethod
    def of_prompt(cls, model, input_ids: Tensor, config, model_kwargs: dict, *, edited: bool) -> tuple[Branch, Tensor]:
        """The prompt pass over the whole batch: the branch, and the last row's logits float32 `[B, V]`."""
        outputs = hf.prefill(model, input_ids, config, model_kwargs)
        cache = hf.forkable(outputs.past_key_values)
        rest = hf.without_prompt_inputs(model_kwargs)
        logits = finite_logits(outputs.logits[:, -1]).to(input_ids.device, copy=True)
        return cls(model, input_ids, cache, rest, edited or hf.is_hybrid(model)), logits

    def fork(self, rows: Tensor) -> Branch:
        """These rows (with repeats) as a branch of its own; this one stays as it is."""
        kwargs = hf.row_inputs(self.kwargs, rows, len(self.ids))
        return Branch(self.model, self.ids[rows], hf.forked_cache(self.cache, rows), kwargs, self.one_by_one)

    def feed(self, tokens: Tensor) -> Tensor:
        """Append tokens int64 `[R, k]` to the rows; the logits behind the last of them, float32 `[R, V]`."""
        count = 1 if self.one_by_one else tokens.shape[1]
        for part in tokens.split(count, dim=1):
            new = part.shape[1]
            self.ids = torch.cat([self.ids, part], dim=-1)
            self.kwargs = hf.extended(self.model, {}, self.kwargs, new)
            inputs = hf.next_inputs(self.model, self.ids, new, {**self.kwargs, "past_key_values": self.cache})
            outputs = self.model(**inputs, return_dict=True)
        return finite_logits(outputs.logits[:, -1]).to(self.ids.device, copy=True)
