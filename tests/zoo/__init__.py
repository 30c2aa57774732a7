"""Small random-weight checkpoints of the real classes, with real processors, for every family that is supported.

`FAMILIES["llava"].build()` gives a shared (model, processor); `.inputs(n=2, images=2)` a left-padded batch for it.
`REFUSED` holds families that the engine must turn away.
"""

from __future__ import annotations

from . import llava, text
from .family import Family, picture

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("llava", llava.llava, seed=3),
        Family("llava_next", llava.llava_next, seed=1),
        Family("llava_onevision", llava.llava_onevision, seed=2),
        Family("llama", text.llama, text_only=True),
        Family("mistral", text.mistral, text_only=True, seed=6),
        Family("gemma2", text.gemma2, text_only=True, seed=6),
    )
}

__all__ = ["FAMILIES", "Family", "picture"]
