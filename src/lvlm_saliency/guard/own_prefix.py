"""A cache for the common prefix of questions, for texts whose own cache cannot be shared with their questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from lvlm_saliency import hf
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.errors import SettingError
from lvlm_saliency.hf import caches

if TYPE_CHECKING:
    from lvlm_saliency.guard.questions import Asker


class Own:
    """The prefix of all questions (what stands before the pictures, and the pictures), read once for each sample."""

    def __init__(self, asker: Asker):
        self.asker, model = asker, asker.model
        hf.refuse_held_states(model)
        self.common = asker.wording.common()
        inputs = asker.prompts([self.common] * len(asker.rows))
        self.ids, config, kwargs = hf.prepared_alone(model, inputs, 1, 1, use_cache=True)
        self.repeat = len(asker.rows) // len(self.ids)
        prompt = Prompt.read(model, self.ids, kwargs.get("attention_mask"), self.ids.shape[1])
        with hf.offsets_kept(model), asker.session.acting_on(prompt):
            out = hf.prefill(model, self.ids, config, kwargs)
        asker.passes += 1
        self.cache = hf.cache_of(out)
        self.kwargs = hf.without_prompt_inputs(kwargs)

    def margins(self, wanted: Sequence[tuple[int, str]]) -> list[float]:
        asker = self.asker
        tails = [self._behind(asker.wording.tail(words)) for _, words in wanted]
        rows = torch.tensor([sample // self.repeat for sample, _ in wanted], device=self.ids.device)
        new = max(map(len, tails))
        if hf.is_hybrid(asker.model) and len({len(tail) for tail in tails}) > 1:
            # A recurrent state would run over the padding after a shorter question, so each length is read by itself.
            found: dict[int, float] = {}
            for length in sorted({len(tail) for tail in tails}):
                some = [n for n, tail in enumerate(tails) if len(tail) == length]
                found |= dict(zip(some, self.margins([wanted[n] for n in some]), strict=True))
            return [found[n] for n in range(len(wanted))]
        cache = caches.forked_cache(self.cache, rows)
        kwargs = hf.row_inputs(self.kwargs, rows, len(self.ids))
        fed = torch.tensor([tail + [tail[-1]] * (new - len(tail)) for tail in tails], device=self.ids.device)
        ids = torch.cat([self.ids[rows], fed], dim=1)
        step = 1 if hf.is_hybrid(asker.model) else new
        logits = []
        for start in range(0, new, step):
            kwargs = hf.extended(asker.model, {}, kwargs, step)
            now = ids[:, : self.ids.shape[1] + start + step]
            inputs = hf.next_inputs(asker.model, now, step, {**kwargs, hf.CACHE: cache})
            if "logits_to_keep" in inputs:
                inputs["logits_to_keep"] = step
            prompt = Prompt.read(asker.model, now, kwargs.get("attention_mask"), now.shape[1])
            with asker.session.acting_on(prompt):
                logits.append(asker.model(**inputs, return_dict=True).logits[:, -step:])
            asker.passes += 1
        last = torch.tensor([len(tail) - 1 for tail in tails], device=self.ids.device)
        whole = torch.cat(logits, dim=1)
        return asker.odds(whole[torch.arange(len(tails), device=whole.device), last.to(whole.device)]).tolist()

    def _behind(self, tail: list[int]) -> list[int]:
        if tail[: len(self.common)] != self.common:
            raise SettingError("the guard's questions do not begin alike in this model's template: set ask=False")
        return tail[len(self.common) :]
