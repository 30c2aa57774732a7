"""The model families that are supported: what was tested, how their image tokens lie, and the settings to start from.

Data only, and quick to import. A family that is not listed is still traced when its attention goes through
transformers' attention interface and its cache is of a known kind. What is known to stand in the way is refused with
the reason; `docs/architectures.md` says which language models of transformers were held against the definition, and
`lvlm-saliency check` does it for any checkpoint. What a row adds is heat maps and presets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FamilyInfo:
    """One row of `lvlm-saliency models`.

    model_type: transformers' name of the family (`config.model_type`).
    name: the name that people use.
    checkpoints: ids of public checkpoints whose full-size configuration and picture sizes the tests reproduce (with the
        weights left out); empty where only the small test model stands for the family.
    processors: class names of its processors, by which its grid is found when no model is at hand.
    grid: "module:function" in `lvlm_saliency.model.layout` that places the image tokens; None for a text model.
    no_grid: why there are no heat maps although the model sees pictures; empty where there are.
    refused: why the family cannot be traced at all; empty where it can.
    needs: what the model must be given beside pictures; without it some quietly read the prompt in another way.
    beta, window: LocoRE's gain and reach to start from.
    depth: the part of the decoder, as fractions of its layers, that SGRS scores.
    notes: what is particular about it.
    """

    model_type: str
    name: str
    checkpoints: tuple[str, ...] = ()
    processors: tuple[str, ...] = ()
    grid: str | None = None
    no_grid: str = ""
    refused: str = ""
    needs: tuple[str, ...] = ()
    beta: float = 0.15
    window: int = 10
    depth: tuple[float, float] = (0.5, 0.75)
    notes: str = ""

    @property
    def tested(self) -> bool:
        """Whether a small model of the family goes through every test."""
        return not self.refused and not self.no_grid

    def target_layers(self, layers: Sequence[int]) -> list[int]:
        """The preset's choice among the decoder's attention `layers` (ascending); never empty unless `layers` is."""
        first = min(math.floor(self.depth[0] * len(layers)), len(layers) - 1)
        last = max(math.ceil(self.depth[1] * len(layers)), first + 1)
        return list(layers[max(first, 0) : last])


_Q_FORMER = "its pictures enter as queries of a Q-Former, which have no place in the picture"

FAMILIES: tuple[FamilyInfo, ...] = (
    FamilyInfo(
        "llava",
        "LLaVA-1.5",
        ("llava-hf/llava-1.5-7b-hf", "llava-hf/llava-1.5-13b-hf"),
        ("LlavaProcessor",),
        "crop:crop",
        notes="24 x 24 tokens over the middle of the picture, or over all of it when padded to a square",
    ),
    FamilyInfo(
        "llava_next",
        "LLaVA-NeXT (1.6)",
        ("llava-hf/llava-v1.6-mistral-7b-hf",),
        ("LlavaNextProcessor",),
        "anyres:anyres",
        needs=("image_sizes",),
        notes="the whole picture, then its tiles joined, each row ended by a newline token",
    ),
    FamilyInfo(
        "llava_onevision",
        "LLaVA-OneVision",
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf",),
        ("LlavaOnevisionProcessor",),
        "anyres:anyres",
        needs=("image_sizes", "batch_num_images"),
        notes="as LLaVA-NeXT, resampled above nine tiles; several pictures in one prompt get one grid each",
    ),
    FamilyInfo(
        "qwen2_vl",
        "Qwen2-VL",
        ("Qwen/Qwen2-VL-7B-Instruct",),
        ("Qwen2VLProcessor",),
        "dynamic:dynamic",
        needs=("image_grid_thw", "mm_token_type_ids"),
        beta=0.20,
        notes="one grid as large as the picture asks for; m-RoPE",
    ),
    FamilyInfo(
        "qwen2_5_vl",
        "Qwen2.5-VL",
        ("Qwen/Qwen2.5-VL-7B-Instruct",),
        ("Qwen2_5_VLProcessor",),
        "dynamic:dynamic",
        needs=("image_grid_thw", "mm_token_type_ids"),
        beta=0.20,
        notes="as Qwen2-VL, with window attention in the vision tower",
    ),
    FamilyInfo(
        "qwen3_vl",
        "Qwen3-VL",
        ("Qwen/Qwen3-VL-8B-Instruct",),
        ("Qwen3VLProcessor",),
        "dynamic:dynamic",
        needs=("image_grid_thw", "mm_token_type_ids"),
        beta=0.20,
        notes="vision features also enter behind early layers (deepstack), past attention to image tokens",
    ),
    FamilyInfo(
        "internvl",
        "InternVL3 (HF format)",
        ("OpenGVLab/InternVL3-8B-hf",),
        ("InternVLProcessor",),
        "tiled:optimal_canvas",
        notes="1 to 12 tiles of 16 x 16 tokens, then a thumbnail",
    ),
    FamilyInfo(
        "idefics3",
        "Idefics3",
        ("HuggingFaceM4/Idefics3-8B-Llama3",),
        ("Idefics3Processor",),
        "tiled:marked_tiles",
        notes="tiles with row and column markers, then the whole picture",
    ),
    FamilyInfo(
        "smolvlm",
        "SmolVLM",
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct",),
        ("SmolVLMProcessor",),
        "tiled:marked_tiles",
        notes="as Idefics3; its processor needs the package num2words",
    ),
    FamilyInfo(
        "gemma3",
        "Gemma 3",
        ("google/gemma-3-4b-it",),
        ("Gemma3Processor",),
        "tiled:crops",
        needs=("token_type_ids",),
        notes="16 x 16 tokens that see one another both ways; sliding layers; crops of long pictures on request",
    ),
    FamilyInfo("llama", "Llama", notes="text only"),
    FamilyInfo("mistral", "Mistral", notes="text only; sliding window"),
    FamilyInfo("gemma2", "Gemma 2", notes="text only; soft-capped attention, which needs attn_implementation='eager'"),
    FamilyInfo("qwen3_5_text", "Qwen3.5", notes="text only; hybrid: traced on its full-attention layers"),
    FamilyInfo("blip-2", "BLIP-2", processors=("Blip2Processor",), no_grid=_Q_FORMER),
    FamilyInfo("instructblip", "InstructBLIP", processors=("InstructBlipProcessor",), no_grid=_Q_FORMER),
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
        "florence2", "Florence-2", refused="an encoder-decoder: the prompt is not part of the generated sequence"
    ),
)

DEFAULT = FamilyInfo("", "not listed")


def find(model_type: str) -> FamilyInfo | None:
    """The family of that `config.model_type`, or None."""
    return next((family for family in FAMILIES if family.model_type == model_type), None)


def of_processor(class_name: str) -> FamilyInfo | None:
    """The family whose processor has that class name, or None."""
    return next((family for family in FAMILIES if class_name in family.processors), None)


def presets(model_type: str) -> FamilyInfo:
    """The family's row, or one with the general settings for a family that is not listed."""
    return find(model_type) or DEFAULT
