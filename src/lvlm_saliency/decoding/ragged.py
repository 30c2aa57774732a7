"""A ragged batch: texts of different lengths over one key/value cache.

Blockwise decoding keeps another number of drafted tokens for each sample. The token ids of all samples begin at column
0. In the cache, those that are not finished end at the same column, so that the next token of each is one more column;
shorter ones have padding on their left, which the mask hides. The columns of a sample are contiguous, so windows and
causality count real positions.
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
        self.known = ids.shape[1] + 1  # number of tokens that `model_kwargs` describe
        self.columns = ids.shape[1]  # of the cache
        self.shift: list[int] = [0] * len(ids)

    # --- the texts ---

    def put(self, tokens: list[int | None], ends: list[int]) -> None:
        """Write one token per sample after its first `ends[b]` tokens; None leaves that sample as it is."""
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
        """Drop the tokens after a sample's end."""
        self.ids[sample, self.ends[sample] :] = self.filler

    def by_length(self, ends: list[int], call: Callable[[Tensor], Tensor]) -> Tensor:
        """Call `call(ids [B, n])` for every length n in `ends`, and take each sample's row from the call of its
        length."""
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
        if shifts is not None and inputs.get("position_ids", ids) is None:
            inputs["position_ids"] = hf.counted_positions(self.model, index[:, past:])
        if "logits_to_keep" in inputs:
            inputs["logits_to_keep"] = new
        return inputs

    # --- the cache ---

    def settle(self, cache: Any, active: list[bool]) -> None:
        """Arrange the cache to hold all but the last token of each text, with those of the active samples flush
        right."""
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

    def settle_active(self, cache: Any, active: list[bool]) -> None:
        """As `settle`, for texts whose finished samples nobody reads any more: their columns are not kept in order, so
        that what moves is only a sample that was cut. At least one sample is active."""
        held = int(cache.get_seq_length())
        columns = max(end for end, alive in zip(self.ends, active, strict=True) if alive) - 1
        steps = [columns + 1 - end - old for end, old in zip(self.ends, self.shift, strict=True)]
        moving = [step for step, alive in zip(steps, active, strict=True) if alive]
        most = max(set(moving), key=moving.count)
        steps = [step if alive else most for step, alive in zip(steps, active, strict=True)]
        if any(steps):
            caches.slide(cache, steps, most, columns)
        else:
            caches.crop(cache, held - columns)
        self.columns, self.shift = columns, [old + step for old, step in zip(self.shift, steps, strict=True)]

    def keep(self, samples: list[int]) -> None:
        """Drop all samples but these. The caller does the same with the cache."""
        rows = torch.tensor(samples, device=self.ids.device)
        cache = hf.cache_of(self.kwargs)
        kwargs = hf.row_inputs(hf.without_prompt_inputs(self.kwargs), rows, len(self.ids))
        self.kwargs = {**kwargs, hf.CACHE: cache}
        self.ids = self.ids[rows]
        self.ends, self.shift = [self.ends[n] for n in samples], [self.shift[n] for n in samples]

    def rewind(self, cache: Any) -> None:
        """Remove from the cache what was fed since the last `settle`."""
        caches.crop(cache, int(cache.get_seq_length()) - self.columns)
