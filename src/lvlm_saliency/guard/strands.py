"""Texts in progress with a key/value cache that can be rolled back.

One cache serves the whole batch where it can hold samples of different lengths; else samples are generated one at a
time, with snapshots of the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.attention.session import Session
from lvlm_saliency.decoding.ragged import RaggedBatch
from lvlm_saliency.hf import caches


@dataclass
class Start:
    """A batch of prompts after their forward pass.

    Attributes:
        ids: int64 `[B, n0]`.
        kwargs: the model's keyword state after it.
        cache: the key/value cache after it.
        logits: of the first new token, `[B, V]`.
        prompt: what counts as the prompt.
        editors: attention edits for these texts; None for those of the session.
    """

    ids: Tensor
    kwargs: dict
    cache: Any
    logits: Tensor
    prompt: Prompt
    editors: Sequence[Any] | None = None

    def rows(self, numbers: Sequence[int]) -> Start:
        """These samples (repeats allowed), with a cache of their own."""
        rows = torch.tensor(numbers, device=self.ids.device)
        cache = caches.forked_cache(self.cache, rows)
        kwargs = hf.row_inputs(hf.without_prompt_inputs(self.kwargs), rows, len(self.ids))
        return replace(
            self,
            ids=self.ids[rows],
            kwargs={**kwargs, hf.CACHE: cache},
            cache=cache,
            logits=self.logits[rows],
            prompt=self.prompt.rows(rows),
        )


class Strand(Protocol):
    """Texts in progress.

    Attributes:
        start: their prompts.
        texts: the token ids, and the length of each sample.
        cache: the present key/value cache.
        shift: columns of padding on the left of each sample.
    """

    start: Start
    texts: RaggedBatch
    cache: Any
    prompt: Prompt

    @property
    def shift(self) -> list[int]: ...

    def logits(self, capture) -> Tensor:
        """Logits `[B, V]` of each sample's next token."""

    def put(self, tokens: Sequence[int | None]) -> None:
        """Add a token to each sample that has one."""

    def back(self, lengths: dict[int, int]) -> None:
        """Cut answers to the given numbers of tokens, by sample."""

    def settle(self, active: list[bool]) -> None:
        """Bring the cache into line with the texts."""


class _Reading:
    """What all kinds share: forward calls under the methods of the session."""

    def __init__(self, model, session: Session, start: Start, filler: int):
        self.model, self.session, self.start = model, session, start
        self.prompt, self.cache = start.prompt, start.cache
        self.texts = RaggedBatch(model, start.ids, start.kwargs, filler)

    def acting(self, prompt: Prompt) -> AbstractContextManager:
        return self.session.acting_on(prompt, self.start.editors or ())

    def call(self, inputs: dict, shifts: Tensor | None, capture) -> Tensor:
        self.prompt.shift = shifts
        with self.acting(self.prompt), torch.no_grad():
            self.session.capture = capture
            return self.model(**inputs, return_dict=True).logits[:, -1]

    def put(self, tokens: Sequence[int | None]) -> None:
        for sample, token in enumerate(tokens):
            if token is not None:
                self.texts.put_one(sample, token)


class Together(_Reading):
    """All samples over one cache, each at its own length."""

    @property
    def shift(self) -> list[int]:
        return self.texts.shift

    def logits(self, capture) -> Tensor:
        inputs = self.texts.inputs(int(self.cache.get_seq_length()), 1)
        return self.call(inputs, self.texts.shifts, capture)

    def back(self, lengths: dict[int, int]) -> None:
        for sample, length in lengths.items():
            self.texts.ends[sample] = self.texts.prompt_length + length
            self.texts.forget(sample)

    def settle(self, active: list[bool]) -> None:
        self.texts.settle_active(self.cache, active)

    def keep(self, samples: list[int]) -> None:
        """Go on with these samples alone."""
        rows = torch.tensor(samples, device=self.texts.ids.device)
        self.texts.keep(samples)
        self.cache.reorder_cache(rows)
        self.prompt = self.prompt.rows(rows)


class Straight(Together):
    """All samples over one cache that is never rolled back, so that calls equal those of an ordinary generation."""

    def settle(self, active: list[bool]) -> None:
        self.texts.columns = int(self.cache.get_seq_length())


class Alone(_Reading):
    """One sample, rolled back to a snapshot of its cache: for recurrent states and full sliding windows."""

    def __init__(self, model, session: Session, start: Start, filler: int):
        super().__init__(model, session, start, filler)
        hf.refuse_held_states(model)
        self.held = start.ids.shape[1]
        self.next: Tensor = start.logits
        self.snapshots: list[tuple[int, Any, Tensor]] = []
        self.mark()

    @property
    def shift(self) -> list[int]:
        return [0]

    def mark(self) -> None:
        """Take a snapshot of the cache and the logits after it."""
        if not self.snapshots or self.snapshots[-1][0] != self.held:
            self.snapshots = [*self.snapshots[-1:], (self.held, self._copy(self.cache), self.next)]

    def _copy(self, cache):
        return caches.forked_cache(cache, torch.zeros(1, dtype=torch.long, device=self.texts.ids.device))

    def logits(self, capture) -> Tensor:
        while self.held < self.texts.ends[0]:
            kwargs = self.texts.kwargs
            total = self.held + 1
            if total > self.texts.known:
                self.texts.kwargs = kwargs = hf.extended(self.model, {}, kwargs, total - self.texts.known)
                self.texts.known = total
            ids = self.texts.ids[:, :total]
            kwargs = hf.cut(kwargs, hf.PER_TOKEN, slice(0, total))
            inputs = hf.next_inputs(self.model, ids, 1, {**kwargs, hf.CACHE: self.cache})
            self.next = self.call(inputs, None, capture)
            self.held = total
        return self.next

    def back(self, lengths: dict[int, int]) -> None:
        length = self.texts.prompt_length + lengths[0]
        self.texts.ends[0] = length
        self.texts.forget(0)
        self.snapshots = [s for s in self.snapshots if s[0] <= length]
        self.held, cache, self.next = self.snapshots[-1]
        self.cache = self._copy(cache)

    def settle(self, active: list[bool]) -> None:
        """Nothing to do: the cache holds just the tokens that were fed."""
