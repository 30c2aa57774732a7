"""Language models without pictures, and families without heat maps or without traces: each says why."""

from __future__ import annotations

from lvlm_saliency.model.families.info import FamilyInfo

_Q_FORMER = "its pictures enter as queries of a Q-Former, which have no place in the picture"

OTHERS: tuple[FamilyInfo, ...] = (
    FamilyInfo(
        "deepseek_ocr2",
        "DeepSeek-OCR 2",
        checkpoints=("deepseek-community/DeepSeek-OCR-2",),
        processors=("DeepseekOcr2Processor",),
        own_precision=True,
        no_grid="its image tokens are what learned queries read one after the other, in an order of their own",
        notes="crops, then the whole picture, then a mark: regions, but no heat maps",
        tiny=True,
    ),
    FamilyInfo(
        "llama",
        "Llama",
        notes="text only",
        trained=True,
    ),
    FamilyInfo(
        "mistral",
        "Mistral",
        notes="text only; sliding window",
    ),
    FamilyInfo(
        "gemma2",
        "Gemma 2",
        notes="text only; soft-capped attention, which needs attn_implementation='eager'",
    ),
    FamilyInfo(
        "gemma3_text",
        "Gemma 3 (text)",
        tiny=False,
        notes="text only; every sixth layer attends to the whole text",
        trained=True,
    ),
    FamilyInfo(
        "qwen3_5_text",
        "Qwen3.5",
        notes="text only; hybrid: traced on its full-attention layers",
    ),
    FamilyInfo(
        "blip-2",
        "BLIP-2",
        processors=("Blip2Processor",),
        no_grid=_Q_FORMER,
    ),
    FamilyInfo(
        "instructblip",
        "InstructBLIP",
        processors=("InstructBlipProcessor",),
        no_grid=_Q_FORMER,
    ),
    FamilyInfo(
        "mllama",
        "Llama 3.2 Vision",
        processors=("MllamaProcessor",),
        refused="pictures enter through cross-attention layers, so no position of the sequence holds them",
    ),
    FamilyInfo(
        "paligemma",
        "PaliGemma",
        processors=("PaliGemmaProcessor",),
        refused="a prefix language model: its prompt attends to itself in both directions",
    ),
    FamilyInfo(
        "florence2",
        "Florence-2",
        refused="an encoder-decoder: the prompt is not part of the generated sequence",
    ),
)
