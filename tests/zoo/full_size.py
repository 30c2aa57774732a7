"""Published checkpoints in full size, without weights: configurations as on the hub, parameters on the meta device.

Classes and tokenizer are those of the family's small model; everything that decides how many image tokens there are,
and where they lie, is as published. What is not said here is what transformers' classes take for the checkpoint that
their documentation names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature

from . import FAMILIES, MORE

QWEN2_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
}
VICUNA_13B = {
    "model_type": "llama",
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
}
LLAMA_3_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}
SIGLIP = {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "patch_size": 14}
MROPE = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
QWEN_3 = {"size": {"shortest_edge": 65536, "longest_edge": 16777216}, "patch_size": 16}
PIXTRAL = {"size": {"longest_edge": 1540}, "patch_size": {"height": 14, "width": 14}}
CROP_336 = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}


ZOO = {**FAMILIES, **MORE}


@dataclass(frozen=True)
class FullSize:
    """How a published checkpoint differs from the family's small model."""

    family: str
    config: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)  # of the image processor
    processor: dict[str, Any] = field(default_factory=dict)

    def build(self) -> tuple[Any, Any]:
        """(model on the meta device, processor)."""
        small, processor = ZOO[self.family].fresh()
        processor.image_processor = type(processor.image_processor)(**self.images)
        for name, value in self.processor.items():
            setattr(processor, name, value)
        names = ("image_token_id", "video_token_id", "image_token_index", "video_token_index", "image_patch_id")
        own = small.config.to_dict()
        ids = {name: getattr(small.config, name) for name in names if name in own}
        config = {**self.config, **ids}
        vision = own.get("vision_config") or {}
        if "image_token_id" in vision and not ids:  # Phi-4 keeps it there
            config["vision_config"] = {**config.get("vision_config", {}), "image_token_id": vision["image_token_id"]}
        with torch.device("meta"):
            return type(small)(type(small.config)(**config)), processor

    def inputs(self, processor: Any, pictures: list[Image.Image]) -> BatchFeature:
        """One prompt with all the pictures."""
        text = ZOO[self.family].prompts(images=len(pictures))
        return processor(images=[pictures], text=text, return_tensors="pt", add_special_tokens=False)


def gemma_text(tokens: int) -> str:
    """What Gemma 3's processor writes for a picture."""
    return f"\n\n<start_of_image>{'<image_soft_token>' * tokens}<end_of_image>\n\n"


GEMMA_3N = {"image_seq_length": 256, "full_image_sequence": gemma_text(256)}

FULL_SIZE: dict[str, FullSize] = {
    "llava-1.5-7b": FullSize(
        "llava", {"vision_config": CLIP, "text_config": {"model_type": "llama"}}, CROP_336, {"patch_size": 14}
    ),
    "llava-1.5-13b": FullSize(
        "llava", {"vision_config": CLIP, "text_config": VICUNA_13B}, CROP_336, {"patch_size": 14}
    ),
    "llava-v1.6-mistral-7b": FullSize(
        "llava_next",
        {
            "vision_config": CLIP,
            "text_config": {"model_type": "mistral", "sliding_window": None},
            "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
        },
        CROP_336,
        {"patch_size": 14},
    ),
    "llava-onevision-7b": FullSize(
        "llava_onevision",
        {
            "vision_config": {
                **SIGLIP,
                "model_type": "siglip_vision_model",
                "image_size": 384,
                "num_hidden_layers": 26,
                "vision_use_head": False,
            },
            "text_config": QWEN2_7B,
            "vision_aspect_ratio": "anyres_max_9",
        },
        {},
        {"num_image_tokens": 729, "vision_aspect_ratio": "anyres_max_9"},
    ),
    "qwen2-vl-7b": FullSize(
        "qwen2_vl",
        {
            "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 3584},
            "text_config": {**QWEN2_7B, "model_type": "qwen2_vl_text", "rope_parameters": MROPE},
        },
        {"size": {"shortest_edge": 3136, "longest_edge": 12845056}},
    ),
    "qwen2.5-vl-7b": FullSize(
        "qwen2_5_vl",
        {
            "vision_config": {"depth": 32, "hidden_size": 1280, "out_hidden_size": 3584, "intermediate_size": 3420},
            "text_config": {**QWEN2_7B, "model_type": "qwen2_5_vl_text", "rope_parameters": MROPE},
        },
        {"size": {"shortest_edge": 3136, "longest_edge": 12845056}},
    ),
    "qwen3-vl-8b": FullSize(
        "qwen3_vl",
        {
            "vision_config": {"depth": 27, "hidden_size": 1152, "out_hidden_size": 4096, "patch_size": 16},
            "text_config": {
                "hidden_size": 4096,
                "intermediate_size": 12288,
                "num_hidden_layers": 36,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "rope_parameters": {**MROPE, "mrope_section": [24, 20, 20], "mrope_interleaved": True},
            },
        },
        {"size": {"shortest_edge": 65536, "longest_edge": 16777216}, "patch_size": 16},
    ),
    "internvl3-8b": FullSize(
        "internvl",
        {"vision_config": {"num_hidden_layers": 24}, "text_config": QWEN2_7B},
        {"size": {"height": 448, "width": 448}, "max_patches": 12},
        {"image_seq_length": 256},
    ),
    "idefics3-8b": FullSize(
        "idefics3",
        {
            "vision_config": {**SIGLIP, "image_size": 364, "num_hidden_layers": 27},
            "text_config": LLAMA_3_8B,
            "scale_factor": 2,
        },
        {"size": {"longest_edge": 1456}, "max_image_size": {"longest_edge": 364}},
        {"image_seq_len": 169},
    ),
    "smolvlm2-2.2b": FullSize(
        "smolvlm",
        {
            "vision_config": {**SIGLIP, "image_size": 384, "num_hidden_layers": 27},
            "text_config": {"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 24},
            "scale_factor": 3,
        },
        {"size": {"longest_edge": 1536}, "max_image_size": {"longest_edge": 384}},
        {"image_seq_len": 81},
    ),
    "gemma-3-4b": FullSize(
        "gemma3",
        {
            "vision_config": {
                **SIGLIP,
                "model_type": "siglip_vision_model",
                "image_size": 896,
                "num_hidden_layers": 27,
                "vision_use_head": False,
            },
            "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34},
        },
        {"size": {"height": 896, "width": 896}},
        {"image_seq_length": 256, "full_image_sequence": gemma_text(256)},
    ),
    "Qwen3-VL-30B-A3B-Instruct": FullSize("qwen3_vl_moe", {}, QWEN_3),
    "Qwen3.5-27B": FullSize("qwen3_5_vl", {}, QWEN_3),
    "Qwen3.5-35B-A3B": FullSize("qwen3_5_moe_vl", {}, QWEN_3),
    "GLM-4.1V-9B-Thinking": FullSize("glm4v"),
    "GLM-4.6V": FullSize("glm46v"),
    "GLM-4.5V": FullSize("glm4v_moe"),
    "GLM-OCR": FullSize("glm_ocr"),
    "EXAONE-4.5-33B": FullSize("exaone4_5"),
    "PaddleOCR-VL": FullSize("paddleocr_vl"),
    "ERNIE-4.5-VL-28B-A3B-PT": FullSize("ernie4_5_vl_moe"),
    "HunyuanOCR": FullSize("hunyuan_vl", {"text_config": {"num_attention_heads": 16, "head_dim": 128}}),
    "Kimi-K2.6": FullSize("kimi_k25"),
    "MiniMax-M3": FullSize("minimax_m3_vl"),
    "gemma-3n-E4B": FullSize("gemma3n", {}, {"size": {"height": 768, "width": 768}}, GEMMA_3N),
    "gemma-4-e2b-it": FullSize("gemma4", {"vision_config": {}}),
    "gemma-4-12B-it": FullSize("gemma4_unified", {"vision_config": {}}),
    "Mistral-Small-3.1-24B-Instruct-2503": FullSize("mistral3", {}, PIXTRAL, {"patch_size": 14}),
    "Mistral-Large-4-1T-A52B": FullSize("mistral_large4", {}, PIXTRAL, {"patch_size": 14}),
    "GLM-5.3-Flash": FullSize("glm5_next"),
    "Muse-Glimmer-30B": FullSize("muse_glimmer"),
    "Llama-4-Scout-17B-16E": FullSize("llama4", {"vision_config": {"image_size": 336}}, {}, {"patch_size": 14}),
    "aya-vision-8b": FullSize(
        "aya_vision",
        {"vision_config": {**SIGLIP, "model_type": "siglip_vision_model", "image_size": 364, "vision_use_head": False}},
        {"size": {"height": 364, "width": 364}, "crop_to_patches": True, "max_patches": 12},
        {"patch_size": 28, "img_size": 364},
    ),
    "command-a-vision-07-2025": FullSize("cohere2_vision", processor={"patch_size": 16}),
    "Ovis2-1B-hf": FullSize(
        "ovis2",
        {"vision_config": {"image_size": 448, "hidden_stride": 2}},
        {"size": {"height": 448, "width": 448}, "crop_to_patches": True, "max_patches": 9},
        {"image_seq_length": 256},
    ),
    "deepseek-vl-1.3b-chat": FullSize(
        "deepseek_vl", {"vision_config": {"image_size": 384}}, {}, {"num_image_tokens": 576}
    ),
    "DeepSeek-OCR-2": FullSize(
        "deepseek_ocr2",
        {
            "vision_config": {
                "sam_config": {"downsample_channels": [512, 896]},
                "encoder_config": {"hidden_size": 896, "num_attention_heads": 14, "num_key_value_heads": 2},
            },
            "text_config": {
                "hidden_size": 1280,
                "num_hidden_layers": 12,
                "num_attention_heads": 10,
                "num_experts_per_tok": 6,
                "mlp_layer_types": ["dense", *["sparse"] * 11],
            },
        },
        {},
        {"patch_size": 16},
    ),
    "Step-3.7-Flash": FullSize(
        "step3p7",
        processor={
            "image_feature_placeholder": "<im_patch>" * 13**2,
            "patch_feature_placeholder": "<im_patch>" * 9**2,
            "num_image_feature_size": 13**2,
            "num_patch_feature_size": 9**2,
        },
    ),
    "Phi-4-multimodal-instruct": FullSize("phi4_multimodal"),
    "Molmo2-8B": FullSize("molmo2"),
    "LFM2-VL-1.6B": FullSize("lfm2_vl"),
}
