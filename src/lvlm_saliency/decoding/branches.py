"""Texts that share a prompt: its cache is filled once, and every text continues a copy of it.

A rollback copies the earlier cache again instead of cropping the later one, so it is right for sliding windows and
recurrent states too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.attention.session import Session
from lvlm_saliency.attention.state import Capture
from lvlm_saliency.hf import caches
from lvlm_saliency.tracing.logits import finite_logits


@dataclass
class Branch:
    """Texts in progress.

    Attributes:
        ids: int64 `[R, L]`; the cache holds all of them.
        origin: int64 `[R]`, the sample of the batch that each row belongs to.
    """

    model: Any
    session: Session
    ids: Tensor
    origin: Tensor
    cache: Any
    kwargs: dict[str, Any]
    prompt: Prompt
    one_by_one: bool
    """Whether several tokens must be fed one by one, for layers with a recurrent state or methods that act on the
    newest row."""

    @classmethod
    def of_prompt(
        cls,
        model: Any,
        session: Session,
        input_ids: Tensor,
        config: Any,
        model_kwargs: dict[str, Any],
        *,
        edited: bool,
    ) -> tuple[Branch, Tensor]:
        """The prompt pass over the whole batch: its branch, and the logits behind each prompt, float32 `[B, V]`.

        Raises:
            SettingError: the cache cannot be forked.
        """
        hf.refuse_held_states(model)
        caches.forkable(hf.cache_of(model_kwargs))
        outputs = hf.prefill(model, input_ids, config, model_kwargs)
        branch = cls.over(hf.cache_of(outputs), model, session, input_ids, model_kwargs, edited=edited)
        return branch, _last_logits(outputs, input_ids)

    @classmethod
    def over(
        cls,
        cache: Any,
        model: Any,
        session: Session,
        input_ids: Tensor,
        model_kwargs: dict[str, Any],
        *,
        edited: bool,
    ) -> Branch:
        """The branch of a batch of prompts that the cache holds; `model_kwargs` as they were before the prompt pass."""
        rest = hf.without_prompt_inputs(model_kwargs)
        rows = torch.arange(len(input_ids), device=input_ids.device)
        prompt = cast(Prompt, session.prompt)  # the decode loop has set it
        return cls(model, session, input_ids, rows, cache, rest, prompt, edited or hf.is_hybrid(model))

    def fork(self, rows: Tensor) -> Branch:
        """These rows (with repeats) as a branch of its own; this one stays as it is."""
        kwargs = hf.row_inputs(self.kwargs, rows, len(self.ids))
        cache = caches.forked_cache(self.cache, rows)
        return replace(self, ids=self.ids[rows], origin=self.origin[rows], cache=cache, kwargs=kwargs)

    def feed(self, tokens: Tensor, capture: Capture | None = None) -> Tensor:
        """Append tokens int64 `[R, k]` to the rows; the logits after the last of them, float32 `[R, V]`."""
        for part in tokens.split(1 if self.one_by_one else tokens.shape[1], dim=1):
            outputs = self._step(part, capture)
        return _last_logits(outputs, self.ids)

    def _step(self, tokens: Tensor, capture: Capture | None) -> Any:
        new = tokens.shape[1]
        self.ids = torch.cat([self.ids, tokens], dim=-1)
        self.kwargs = hf.extended(self.model, {}, self.kwargs, new)
        inputs = hf.next_inputs(self.model, self.ids, new, {**self.kwargs, hf.CACHE: self.cache})
        image, padding = (
            None if mask is None else mask[self.origin] for mask in (self.prompt.image, self.prompt.padding)
        )
        with self.session.acting_on(Prompt(self.prompt.length, image, padding)):
            self.session.capture = capture
            return self.model(**inputs, return_dict=True)


def _last_logits(outputs: Any, ids: Tensor) -> Tensor:
    return finite_logits(outputs.logits[:, -1]).to(ids.device, copy=True)
