"""Small random-weight checkpoints of the real classes, with real processors, for every family that is supported.

`FAMILIES["llava"].build()` gives a shared (model, processor); `.inputs(n=2, images=2)` a left-padded batch for it.
`REFUSED` holds families that the engine must turn away.
"""

from __future__ import annotations

from . import llava, qwen, refused, text, tiles
from .family import Family, picture

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("llava", llava.llava, seed=3),
        Family("llava_next", llava.llava_next, seed=1),
        Family("llava_onevision", llava.llava_onevision, seed=2),
        Family("qwen2_vl", qwen.qwen2_vl, seed=10),
        Family("qwen2_5_vl", qwen.qwen2_5_vl, seed=10),
        Family("qwen3_vl", qwen.qwen3_vl, seed=3),
        Family("internvl", tiles.internvl, seed=2),
        Family("idefics3", tiles.idefics3, seed=10),
        Family("smolvlm", tiles.smolvlm, seed=10),
        Family("gemma3", tiles.gemma3, seed=9),
        Family("llama", text.llama, text_only=True),
        Family("mistral", text.mistral, text_only=True, seed=6),
        Family("gemma2", text.gemma2, text_only=True, seed=2),
        Family("qwen3_5", qwen.qwen3_5, text_only=True),
    )
}

REFUSED: dict[str, Family] = {
    family.name: family
    for family in (
        Family("mllama", refused.mllama),
        Family("mamba", refused.mamba, text_only=True),
        Family("t5", refused.t5, text_only=True),
    )
}

__all__ = ["FAMILIES", "REFUSED", "Family", "picture"]
