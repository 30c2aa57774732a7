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
        weights left out), from what was published of them, or else from what transformers' classes take for them;
        empty where only the small test model stands for the family.
    processors: class names of its processors, by which its grid is found when no model is at hand.
    grid: "module:function" in `lvlm_saliency.model.layout` that places the image tokens; None for a text model.
    film: the same for the tokens of videos; None for a model that takes none, or whose videos are not supported.
    no_grid: why there are no heat maps although the model sees pictures; empty where there are.
    refused: why the family cannot be traced at all; empty where it can.
    needs: what the model must be given beside pictures; without it some quietly read the prompt in another way.
    beta, window: LocoRE's gain and reach to start from.
    depth: the part of the decoder, as fractions of its layers, that SGRS scores.
    notes: what is particular about it.
    tiny: whether a small model of the family goes through the tests; None for those without an obstacle.
    """

    model_type: str
    name: str
    checkpoints: tuple[str, ...] = ()
    processors: tuple[str, ...] = ()
    grid: str | None = None
    film: str | None = None
    no_grid: str = ""
    refused: str = ""
    needs: tuple[str, ...] = ()
    beta: float = 0.15
    window: int = 10
    depth: tuple[float, float] = (0.5, 0.75)
    notes: str = ""
    tiny: bool | None = None

    @property
    def proof(self) -> tuple[str, ...]:
        """How it was proven: "small" (a small model of its classes goes through the tests, with a real processor),
        "shapes" (published configurations and picture sizes, weights left out), "weights" (trained weights)."""
        found = (("small", self.tested), ("shapes", bool(self.checkpoints)), ("weights", self.model_type in _TRAINED))
        return tuple(name for name, known in found if known)

    @property
    def tested(self) -> bool:
        """Whether a small model of the family goes through every test."""
        return not self.refused and not self.no_grid if self.tiny is None else self.tiny

    @property
    def closing(self) -> tuple[str, ...]:
        """What closes a picture after its last image token, where the model's configuration does not name it: names of
        the tokenizer's attributes, or the texts themselves."""
        return _CLOSING.get(self.model_type, ())

    @property
    def image_mark(self) -> str | None:
        """The text of the token that stands for each part of a picture, where the processor's image token is another:
        that one stands for the whole picture, before the processor writes its parts."""
        return _IMAGE_MARK.get(self.model_type)

    def target_layers(self, layers: Sequence[int]) -> list[int]:
        """The preset's choice among the decoder's attention `layers` (ascending); never empty unless `layers` is."""
        first = min(math.floor(self.depth[0] * len(layers)), len(layers) - 1)
        last = max(math.ceil(self.depth[1] * len(layers)), first + 1)
        return list(layers[max(first, 0) : last])


_TRAINED = ("llava", "llama")
"""Families whose tests run on trained weights too: the shipped model, and the one of `make test-real`."""
_GRID = ("image_grid_thw",)
_GRID_AND_TYPES = ("image_grid_thw", "mm_token_type_ids")
_FILMS = {
    **dict.fromkeys(("glm4v", "glm46v", "glm4v_moe", "glm_ocr"), "films:typed_pairs"),
    **dict.fromkeys(("exaone4_5", "lfm3_vl"), "films:pairs"),
}
_NO_SHAPES = "; no full shapes: the sizes of a released processor are not known here"
_CLOSING = {
    "internvl": ("end_image_token",),
    **dict.fromkeys(("idefics3", "smolvlm"), ("<fake_token_around_image>",)),
    "exaone4_5": ("<|vision_end|>", "</vision>"),
    **dict.fromkeys(("ernie4_5_vl_moe", "hunyuan_vl"), ("image_end_token",)),
    "minimax_m3_vl": ("]<]end of image[>[",),
    **dict.fromkeys(("muse_glimmer", "lfm2_vl"), ("<|image_end|>",)),
    **dict.fromkeys(("mistral3", "mistral_large4"), ("[IMG_END]",)),
    "aya_vision": ("<|END_OF_IMG|>",),
    "cohere2_vision": ("img_line_break_token", "eoi_token"),
    "step3p7": ("<patch_newline>", "<patch_end>", "<im_end>"),
    **dict.fromkeys(("minicpmv4_6", "minicpmv4_7"), ("slice_end_token", "image_end_token")),
}
"""As transformers' processors write them."""
_IMAGE_MARK = {"llama4": "<|patch|>", "molmo2": "<im_patch>", "ovis2": "<IMG_ATOM>"}
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
        film="films:halved_frames",
        needs=("image_sizes", "batch_num_images"),
        notes="as LLaVA-NeXT, resampled above nine tiles; several pictures in one prompt get one grid each",
    ),
    FamilyInfo(
        "qwen2_vl",
        "Qwen2-VL",
        ("Qwen/Qwen2-VL-7B-Instruct",),
        ("Qwen2VLProcessor",),
        "dynamic:dynamic",
        film="films:pairs",
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
        film="films:pairs",
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
        film="films:pairs",
        needs=("image_grid_thw", "mm_token_type_ids"),
        beta=0.20,
        notes="vision features also enter behind early layers (deepstack), past attention to image tokens",
    ),
    FamilyInfo(
        "qwen3_vl_moe",
        "Qwen3-VL (experts)",
        checkpoints=("Qwen/Qwen3-VL-30B-A3B-Instruct",),
        processors=("Qwen3VLProcessor",),
        grid="dynamic:dynamic",
        film="films:pairs",
        needs=("image_grid_thw", "mm_token_type_ids"),
        beta=0.20,
        notes="as Qwen3-VL",
    ),
    FamilyInfo(
        "qwen3_5",
        "Qwen3.5, Qwen3.6",
        checkpoints=("Qwen/Qwen3.5-27B",),
        processors=("Qwen3VLProcessor",),
        grid="dynamic:dynamic",
        film="films:pairs",
        needs=("image_grid_thw", "mm_token_type_ids"),
        beta=0.20,
        notes="hybrid: traced on its full-attention layers",
    ),
    FamilyInfo(
        "qwen3_5_moe",
        "Qwen3.5, Qwen3.6 (experts)",
        checkpoints=("Qwen/Qwen3.5-35B-A3B",),
        processors=("Qwen3VLProcessor",),
        grid="dynamic:dynamic",
        film="films:pairs",
        needs=("image_grid_thw", "mm_token_type_ids"),
        beta=0.20,
        notes="as Qwen3.5",
    ),
    FamilyInfo(
        "internvl",
        "InternVL3 (HF format)",
        ("OpenGVLab/InternVL3-8B-hf",),
        ("InternVLProcessor",),
        "tiled:optimal_canvas",
        film="films:named_frames",
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
        film="films:timed_frames",
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
    FamilyInfo(
        "gemma3n",
        "Gemma 3n",
        checkpoints=("google/gemma-3n-E4B",),
        processors=("Gemma3nProcessor",),
        grid="tiled:crops",
        needs=("token_type_ids",),
        notes="16 x 16 tokens; the last layers use keys of earlier ones; its vision tower needs timm",
    ),
    FamilyInfo(
        "gemma4",
        "Gemma 4",
        checkpoints=("google/gemma-4-e2b-it",),
        processors=("Gemma4Processor",),
        grid="dynamic:pooled",
        film="films:pooled_frames",
        needs=("image_position_ids", "mm_token_type_ids"),
        notes="one grid of the picture's shape; small ones share keys, large ones see pictures both ways",
    ),
    FamilyInfo(
        "gemma4_unified",
        "Gemma 4 (12B, no vision tower)",
        checkpoints=("google/gemma-4-12B-it",),
        processors=("Gemma4UnifiedProcessor",),
        grid="dynamic:placed",
        film="films:placed_frames",
        needs=("image_position_ids", "mm_token_type_ids"),
        notes="raw patches are projected",
    ),
    *(
        FamilyInfo(
            kind, name, known, (processor,), "dynamic:dynamic", _FILMS.get(kind), needs=needs, beta=0.20, notes=notes
        )
        for kind, name, known, processor, needs, notes in (
            ("glm4v", "GLM-4.1V", ("zai-org/GLM-4.1V-9B-Thinking",), "Glm4vProcessor", _GRID_AND_TYPES, "m-RoPE"),
            ("glm46v", "GLM-4.6V", ("zai-org/GLM-4.6V",), "Glm46VProcessor", _GRID_AND_TYPES, "as GLM-4.1V"),
            ("glm4v_moe", "GLM-4.5V", ("zai-org/GLM-4.5V",), "Glm4vProcessor", _GRID_AND_TYPES, "experts"),
            ("glm_ocr", "GLM-OCR", ("zai-org/GLM-OCR",), "Glm46VProcessor", _GRID_AND_TYPES, "as GLM-4.6V"),
            (
                "exaone4_5",
                "EXAONE 4.5",
                ("LGAI-EXAONE/EXAONE-4.5-33B",),
                "Exaone4_5_Processor",
                _GRID,
                "sliding and full layers",
            ),
            (
                "paddleocr_vl",
                "PaddleOCR-VL",
                ("PaddlePaddle/PaddleOCR-VL",),
                "PaddleOCRVLProcessor",
                _GRID_AND_TYPES,
                "m-RoPE",
            ),
            (
                "ernie4_5_vl_moe",
                "ERNIE 4.5 VL",
                ("baidu/ERNIE-4.5-VL-28B-A3B-PT",),
                "Ernie4_5_VLMoeProcessor",
                (*_GRID_AND_TYPES, "moe_mm_token_type_ids"),
                "experts of their own for pictures",
            ),
            (
                "minimax_m3_vl",
                "MiniMax M3",
                ("MiniMaxAI/MiniMax-M3",),
                "MiniMaxM3VLProcessor",
                _GRID,
                "layers that attend to chosen blocks",
            ),
            (
                "muse_glimmer",
                "Muse Glimmer",
                ("meta-models/Muse-Glimmer-30B",),
                "MuseGlimmerProcessor",
                _GRID,
                "sliding and full layers, output gate",
            ),
            ("lfm3_vl", "LFM3-VL", (), "Lfm3VlProcessor", _GRID, "hybrid: short convolutions" + _NO_SHAPES),
        )
    ),
    FamilyInfo(
        "kimi_k25",
        "Kimi K2.5, K2.6",
        checkpoints=("moonshotai/Kimi-K2.6",),
        processors=("Kimi_K25Processor",),
        grid="dynamic:padded",
        needs=("image_grid_thw",),
        notes="latent attention, experts; pictures are filled up at the right and at the bottom",
    ),
    FamilyInfo(
        "glm5_next",
        "GLM-5V",
        checkpoints=("zai-org/GLM-5.3-Flash",),
        processors=("Glm5NextProcessor",),
        grid="dynamic:cornered",
        film="films:cornered_pairs",
        needs=_GRID_AND_TYPES,
        notes="hybrid, its full layers choose keys; pictures are filled up at the right and at the bottom",
    ),
    FamilyInfo(
        "hunyuan_vl",
        "Hunyuan-VL",
        checkpoints=("tencent/HunyuanOCR",),
        processors=("HunYuanVLProcessor",),
        grid="dynamic:with_marks",
        needs=("image_grid_thw",),
        notes="rows end in a newline feature, the picture begins and ends with one; pad no prompts (one at a time)",
    ),
    FamilyInfo(
        "mistral3",
        "Mistral 3, Pixtral",
        checkpoints=("mistralai/Mistral-Small-3.1-24B-Instruct-2503",),
        processors=("PixtralProcessor",),
        grid="dynamic:packed",
        needs=("image_sizes",),
        notes="one grid of the picture's shape, a break after every row",
    ),
    FamilyInfo(
        "mistral_large4",
        "Mistral Large 4",
        checkpoints=("mistralai/Mistral-Large-4-1T-A52B",),
        processors=("PixtralProcessor",),
        grid="dynamic:packed",
        needs=("image_sizes",),
        notes="latent attention that chooses keys; as Mistral 3",
    ),
    FamilyInfo(
        "llama4",
        "Llama 4",
        checkpoints=("meta-llama/Llama-4-Scout-17B-16E",),
        processors=("Llama4Processor",),
        grid="canvas:corner_tiles",
        notes="tiles of 12 x 12 tokens, then the whole picture; pad no prompts (one at a time)",
    ),
    FamilyInfo(
        "phi4_multimodal",
        "Phi-4-multimodal",
        checkpoints=("microsoft/Phi-4-multimodal-instruct",),
        processors=("Phi4MultimodalProcessor",),
        grid="canvas:joined_crops",
        needs=("image_sizes", "image_attention_mask"),
        notes="crops joined to one grid, then the whole picture; a separator after every row",
    ),
    FamilyInfo(
        "molmo2",
        "Molmo 2",
        checkpoints=("allenai/Molmo2-8B",),
        processors=("Molmo2Processor",),
        grid="canvas:overlapping_crops",
        needs=("image_grids", "image_token_pooling", "image_num_crops"),
        notes="the whole picture, then one finer grid; image tokens see one another both ways",
    ),
    FamilyInfo(
        "step3p7",
        "Step 3.7",
        checkpoints=("stepfun-ai/Step-3.7-Flash",),
        processors=("Step3p7Processor",),
        grid="canvas:window_crops",
        needs=("num_local_patches",),
        notes="crops, then the whole picture",
    ),
    FamilyInfo(
        "aya_vision",
        "Aya Vision",
        checkpoints=("CohereLabs/aya-vision-8b",),
        processors=("AyaVisionProcessor",),
        grid="tiled:numbered_tiles",
        notes="tiles, then the whole picture",
    ),
    FamilyInfo(
        "cohere2_vision",
        "Command A Vision",
        checkpoints=("CohereLabs/command-a-vision-07-2025",),
        processors=("Cohere2VisionProcessor",),
        grid="tiled:broken_tiles",
        notes="tiles, then the whole picture, a line break after each",
    ),
    FamilyInfo(
        "ovis2",
        "Ovis 2",
        checkpoints=("thisisiron/Ovis2-1B-hf",),
        processors=("Ovis2Processor",),
        grid="tiled:whole_then_tiles",
        notes="the whole picture, then its tiles",
    ),
    FamilyInfo(
        "deepseek_vl",
        "DeepSeek-VL",
        checkpoints=("deepseek-community/deepseek-vl-1.3b-chat",),
        processors=("DeepseekVLProcessor",),
        grid="crop:padded_square",
        notes="24 x 24 tokens over the picture padded to a square",
    ),
    FamilyInfo(
        "deepseek_ocr2",
        "DeepSeek-OCR 2",
        checkpoints=("deepseek-community/DeepSeek-OCR-2",),
        processors=("DeepseekOcr2Processor",),
        no_grid="its image tokens are what learned queries read one after the other, in an order of their own",
        tiny=True,
        notes="crops, then the whole picture, then a mark: regions, but no heat maps",
    ),
    FamilyInfo(
        "lfm2_vl",
        "LFM2-VL",
        checkpoints=("LiquidAI/LFM2-VL-1.6B",),
        processors=("Lfm2VlProcessor",),
        grid="sliced:tiles_then_shape",
        needs=("spatial_shapes", "pixel_attention_mask"),
        notes="hybrid: short convolutions; tiles, then the whole picture in its own shape",
    ),
    FamilyInfo(
        "minicpmv4_6",
        "MiniCPM-V 4.6",
        processors=("MiniCPMV4_6Processor",),
        grid="sliced:shape_then_slices",
        needs=("target_sizes",),
        notes="hybrid; the whole picture, then slices of it" + _NO_SHAPES,
    ),
    FamilyInfo(
        "minicpmv4_7",
        "MiniCPM-V 4.7",
        processors=("MiniCPMV4_7Processor",),
        grid="sliced:shape_then_slices",
        needs=("target_sizes", "mm_token_type_ids"),
        notes="as MiniCPM-V 4.6, with positions on one canvas" + _NO_SHAPES,
    ),
    FamilyInfo(
        "granite4_vision",
        "Granite 4 Vision",
        processors=("Granite4VisionProcessor",),
        grid="anyres:anyres",
        needs=("image_sizes",),
        notes="as LLaVA-NeXT; features also enter behind later layers, past attention to image tokens" + _NO_SHAPES,
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
