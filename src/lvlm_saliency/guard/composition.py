"""Checks what a guard is combined with: methods, settings and caches that cannot be rolled back are refused."""

from __future__ import annotations

from typing import Any

from lvlm_saliency import hf
from lvlm_saliency.attention.parts import Generation
from lvlm_saliency.errors import SettingError
from lvlm_saliency.hf import caches
from lvlm_saliency.interventions.sampling import Drawing


def check_parts(generation: Generation, guard: Any) -> None:
    """Refuse what cannot be composed with a guard.

    Raises:
        SettingError: what cannot be combined, and why.
    """
    parts, config = generation.parts, generation.config
    if parts.selector is not None and not isinstance(parts.selector, Drawing):
        raise SettingError(
            "guard: the method that chooses the tokens goes by the tokens that it chose before, which a guard takes "
            "back: leave one of the two out"
        )
    if any(observer.steers for observer in parts.observers):
        raise SettingError(
            "guard: a method beside it acts on each token as it is chosen, and a guard may take it back: leave one of "
            "the two out"
        )
    changing = [hooks for hooks in parts.hooks if hooks.changes]
    if changing and guard.ask and guard.verdicts is None:
        raise SettingError(
            f"guard: {changing[0].name} changes what lies between the layers of every call, and so would answer the "
            "guard's questions as well: set ask=False, or leave it out"
        )
    if guard.beams > 1 and (config.do_sample or parts.shaper is not None):
        raise SettingError(
            "guard: a search over beams neither samples nor takes its logits from another method: set beams=1, or "
            "leave that out"
        )
    if config.output_hidden_states:
        raise SettingError("guard: output_hidden_states is kept step by step only: leave it out")
    if config.guidance_scale not in (None, 1):
        raise SettingError("guard: guidance_scale keeps a cache of its own, which cannot be taken back: leave it out")
    cache = hf.cache_of(generation.model_kwargs)
    if cache is None or getattr(cache, "is_compileable", False):
        kind = "without a cache (use_cache=False)" if cache is None else f"with a {type(cache).__name__}"
        raise SettingError(
            f"the guard takes tokens back from the key/value cache, which {kind} cannot be done: leave the cache "
            "settings out"
        )
    caches.forkable(cache)
