"""Hidden states that a reading keeps, and lenses of them, as the layers bring them."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from lvlm_saliency.decoding.hidden_states import Lens
from lvlm_saliency.detection.base import Depth, Needs
from lvlm_saliency.detection.lens import of_some, top_and_entropy
from lvlm_saliency.detection.plan import Plan
from lvlm_saliency.detection.reading import LensOf, Reading
from lvlm_saliency.errors import SettingError


class States:
    """Hears the hidden states of every call, and keeps or reduces what is needed of them."""

    def __init__(self, needs: Needs, depth: Depth, plans: list[Plan], found: list[Reading], lens: Lens):
        self.needs, self.depth, self.plans, self.found, self.lens = needs, depth, plans, found, lens
        self.offset = 0
        self.lensed: dict[str, dict[int, list[float]]] = {"image": {}, "prompt": {}}  # kind -> index -> factors
        for kind, wanted in (("image", needs.image_lens), ("prompt", needs.prompt_lens)):
            for index, factor in wanted:
                self.lensed[kind].setdefault(index, []).append(factor)
        every = range(1, depth.count + 1) if needs.text_lens else ()
        self.tapped = sorted(
            {*needs.text, *needs.image, *needs.prompt, *self.lensed["image"], *self.lensed["prompt"], *every}
        )
        if wrong := [index for index in self.tapped if not 0 <= index <= depth.count]:
            raise SettingError(f"hidden states {wrong} do not exist: the model has {depth.count} layers")
        self.parts: dict[tuple[Any, ...], list[Any]] = {}

    def see(self, index: int, hidden: Tensor) -> None:
        """Hidden state `index` `[B, t, D]` of the call whose first token is at `offset`."""
        last = index == self.depth.count
        start, stop = self.offset, self.offset + hidden.shape[1]
        for plan in self.plans:
            own = hidden[plan.sample]
            for kind, positions, wanted in (
                ("image", plan.image, self.needs.image),
                ("prompt", plan.behind, self.needs.prompt),
            ):
                factors = self.lensed[kind].get(index, [])
                if index not in wanted and not factors:
                    continue
                here = positions[(positions >= start) & (positions < stop)] - start
                if len(here):
                    states = self._normed(own[here.to(own.device)], last)
                    if index in wanted:
                        self._keep((plan.sample, kind, index), states)
                    for factor in factors:
                        some = of_some(self.lens, states, plan.ids, factor)
                        self.parts.setdefault((plan.sample, kind + " lens", index, factor), []).append(some)
            self._text(index, own, plan, start, stop, last)

    def _text(self, index: int, own: Tensor, plan: Plan, start: int, stop: int, last: bool) -> None:
        if index not in self.needs.text and not self.needs.text_lens:
            return
        positions = plan.rows + plan.length - 1
        here = positions[(positions >= start) & (positions < stop)] - start
        if not len(here):
            return
        states = own[here.to(own.device)]
        if index in self.needs.text:
            self._keep((plan.sample, "text", index), self._normed(states, last))
        if self.needs.text_lens and index:
            self.parts.setdefault((plan.sample, "text lens", index), []).append(top_and_entropy(self.lens, states))

    def _normed(self, states: Tensor, last: bool) -> Tensor:
        return self.lens.norm(states) if last else states

    def _keep(self, key: tuple[Any, ...], states: Tensor) -> None:
        self.parts.setdefault(key, []).append(states.float().cpu().numpy())

    def finish(self) -> None:
        width = None
        for (sample, kind, index, *factor), parts in self.parts.items():
            text = self.found[sample]
            if kind in ("image lens", "prompt lens"):
                home = text.image_lens if kind == "image lens" else text.prompt_lens
                home[index, factor[0]] = _joined(parts)
            elif kind != "text lens":
                home = {"image": text.image_states, "prompt": text.prompt_states, "text": text.text}[kind]
                home[index] = np.concatenate(parts)
                width = home[index].shape[-1]
        for plan, text in zip(self.plans, self.found, strict=True):
            if self.needs.text_lens:
                parts = [self.parts[plan.sample, "text lens", index] for index in range(1, self.depth.count + 1)]
                text.text_top = np.stack([np.concatenate([top for top, _ in part]) for part in parts], -1)
                text.text_entropy = np.stack([np.concatenate([entropy for _, entropy in part]) for part in parts], -1)
            # A text without a picture, or with nothing after it, has empty arrays, and not none.
            for wanted, home in ((self.needs.image, text.image_states), (self.needs.prompt, text.prompt_states)):
                for index in wanted - set(home):
                    home[index] = np.zeros((0, width or 1), dtype=np.float32)
            for asked, lenses in ((self.needs.image_lens, text.image_lens), (self.needs.prompt_lens, text.prompt_lens)):
                for key in asked - set(lenses):
                    none = np.zeros(0, dtype=np.float32)
                    empty = np.zeros((0, len(plan.ids)), np.float32)
                    lenses[key] = LensOf(plan.ids.numpy(), empty, none, none.astype(int), none, none)


def _joined(parts: list[LensOf]) -> LensOf:
    names = ("logits", "size", "top", "least", "kept")
    return LensOf(parts[0].ids, *(np.concatenate([getattr(part, name) for part in parts]) for name in names))
