"""Small random-weight checkpoints of the real classes, with real processors, for every family that is supported.

`FAMILIES["llava"].build()` gives a shared (model, processor); `.inputs(n=2, images=2)` a left-padded batch for it.
`MORE` holds those that only the slow tests build (`make families`).
`REFUSED` holds families that the engine must turn away.
"""

from __future__ import annotations

from .torchvision_ops import declare  # isort: skip

declare()  # before transformers imports it

from . import crops, gemmas, llava, one_grid, qwen, qwen_marks, refused, shapes, text, tiles  # noqa: E402
from .family import Family, picture  # noqa: E402

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

MORE: dict[str, Family] = {
    family.name: family
    for family in (
        Family("qwen3_vl_moe", qwen_marks.qwen3_vl_moe),
        Family("qwen3_5_vl", qwen_marks.qwen3_5, kind="qwen3_5"),
        Family("qwen3_5_moe_vl", qwen_marks.qwen3_5_moe, kind="qwen3_5_moe"),
        Family("glm4v", one_grid.glm4v),
        Family("glm46v", one_grid.glm46v),
        Family("glm4v_moe", one_grid.glm4v_moe),
        Family("glm_ocr", one_grid.glm_ocr),
        Family("glm5_next", one_grid.glm5_next),
        Family("exaone4_5", qwen_marks.exaone4_5),
        Family("paddleocr_vl", qwen_marks.paddleocr_vl),
        Family("ernie4_5_vl_moe", one_grid.ernie4_5_vl_moe),
        Family("hunyuan_vl", one_grid.hunyuan_vl, seed=1, padded=False),
        Family("kimi_k25", one_grid.kimi_k25, needs="torchvision"),
        Family("minimax_m3_vl", one_grid.minimax_m3_vl, needs="torchvision", padded=False),
        Family("muse_glimmer", one_grid.muse_glimmer, needs="torchvision"),
        Family("lfm3_vl", qwen_marks.lfm3_vl),
        Family("gemma3n", gemmas.gemma3n),
        Family("gemma4", gemmas.gemma4),
        Family("gemma4_large", gemmas.gemma4_large, kind="gemma4"),
        Family("gemma4_unified", gemmas.gemma4_unified, needs="torchvision"),
        Family("mistral3", shapes.mistral3, needs="torchvision"),
        Family("mistral_large4", shapes.mistral_large4, needs="torchvision"),
        Family("llama4", crops.llama4, needs="torchvision", padded=False),
        Family("aya_vision", crops.aya_vision),
        Family("cohere2_vision", crops.cohere2_vision, needs="torchvision"),
        Family("ovis2", crops.ovis2),
        Family("deepseek_vl", crops.deepseek_vl),
        Family("deepseek_ocr2", crops.deepseek_ocr2),
        Family("step3p7", crops.step3p7, needs="torchvision"),
        Family("phi4_multimodal", shapes.phi4_multimodal, needs="torchvision", padded=False),
        Family("molmo2", crops.molmo2, needs="torchvision"),
        Family("lfm2_vl", shapes.lfm2_vl, needs="torchvision"),
        Family("minicpmv4_6", shapes.minicpmv4_6),
        Family("minicpmv4_7", shapes.minicpmv4_7),
        Family("granite4_vision", shapes.granite4_vision),
    )
}
"""Families whose tests are slow ones; some have processors that need torchvision."""

REFUSED: dict[str, Family] = {
    family.name: family
    for family in (
        Family("mllama", refused.mllama),
        Family("mamba", refused.mamba, text_only=True),
        Family("t5", refused.t5, text_only=True),
    )
}

__all__ = ["FAMILIES", "MORE", "REFUSED", "Family", "picture"]
