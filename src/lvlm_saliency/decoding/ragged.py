"""The texts of a batch at different lengths over one key/value cache.

In blocks every sample keeps its own number of drafted tokens. The texts are held side by side from column 0 on. In the
cache the samples that still write end at the same column, so that the next token of each is one more column; what a
sample lacks stands as padding on its left, hidden by the mask. Within a sample the columns stay contiguous: windows,
sliding layers and causality count real positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lvlm_saliency import hf
from lvlm_saliency.hf import caches


class RaggedBatch:
    """Token ids `[B, columns]`, prompt included, of samples that have `ends[b]` tokens each."""

    def __init__(self, model: Any, ids: Tensor, model_kwargs: dict[str, Any], filler: int):
        self.model, self.kwargs, self.filler = model, model_kwargs, filler
        self.ids = ids
        self.prompt_length = ids.shape[1]
        self.ends = [ids.shape[1]] * len(ids)
        self.known = ids.shape[1] + 1  # how many tokens the keyword state describes
        self.columns = ids.shape[1]  # of the cache
        self.shift: list[int] = [0] * len(ids)

    # --- the texts ---

    def put(self, tokens: list[int | None], ends: list[int]) -> None:
        """Write one token per sample behind its first `ends[b]` tokens; None leaves that sample alone."""
        width = max(ends) + 1
        if width > self.ids.shape[1]:
            self.ids = pad(self.ids, (0, width - self.ids.shape[1]), value=self.filler)
        for sample, (token, end) in enumerate(zip(tokens, ends, strict=True)):
            if token is not None:
                self.ids[sample, end] = token

    def put_one(self, sample: int, token: int) -> None:
        """Add a decided token to a sample's text."""
        end = self.ends[sample]
        if end == self.ids.shape[1]:
            self.ids = pad(self.ids, (0, 1), value=self.filler)
        self.ids[sample, end] = token
        self.ends[sample] = end + 1

    def forget(self, sample: int) -> None:
        """Drop what was written behind a sample's end."""
        self.ids[sample, self.ends[sample] :] = self.filler

    def by_length(self, ends: list[int], call: Callable[[Tensor], Tensor]) -> Tensor:
        """`call(ids [B, n])` for every length n that occurs in `ends`; each sample gets its row of its own length."""
        shortest, *longer = sorted(set(ends))
        found = call(self.ids[:, :shortest])
        for length in longer:
            rows = call(self.ids[:, :length])
            mine = torch.tensor([end == length for end in ends], device=rows.device)
            found = torch.where(mine.reshape(-1, *[1] * (rows.dim() - 1)), rows, found)
        return found

    # --- one forward call ---

    @property
    def shifts(self) -> Tensor | None:
        """How many columns of padding stand left of each sample's prompt, int64 `[B]`; None where none do."""
        return torch.tensor(self.shift, device=self.ids.device) if any(self.shift) else None

    def inputs(self, past: int, new: int) -> dict[str, Any]:
        """Forward inputs for `new` tokens of each sample over a cache of `past` columns."""
        total = past + new
        if total > self.known:
            self.kwargs = hf.extended(self.model, {}, self.kwargs, total - self.known)
            self.known = total
        shifts = self.shifts
        if shifts is None:
            ids, kwargs = self.ids[:, :total], hf.cut(self.kwargs, hf.PER_TOKEN, slice(0, total))
        else:
            index = torch.arange(total, device=self.ids.device) - shifts[:, None]
            kwargs = hf.moved(self.kwargs, index)
            ids = self.ids.gather(1, index.clamp(0, self.ids.shape[1] - 1))
        inputs = hf.next_inputs(self.model, ids, new, kwargs)
        if "logits_to_keep" in inputs:
            inputs["logits_to_keep"] = new
        return inputs

    # --- the cache ---

    def settle(self, cache: Any, active: list[bool]) -> None:
        """Bring the cache to the texts as they stand: all but the last token of each, the active ones flush right."""
        held = int(cache.get_seq_length())
        columns = max(self.ends) - 1
        shift = [columns + 1 - end if alive else 0 for end, alive in zip(self.ends, active, strict=True)]
        if shift == self.shift:
            caches.crop(cache, held - columns)
        else:
            before = [old + end - 1 for old, end in zip(self.shift, self.ends, strict=True)]
            after = [new + end - 1 for new, end in zip(shift, self.ends, strict=True)]
            caches.realign(cache, before, after, columns)
        self.columns, self.shift = columns, shift

    def rewind(self, cache: Any) -> None:
        """Take back what was fed since the cache was settled."""
        caches.crop(cache, int(cache.get_seq_length()) - self.columns)
