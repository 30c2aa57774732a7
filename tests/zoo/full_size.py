"""Published checkpoints in full size, without weights: configurations as on the hub, parameters on the meta device.

Classes and tokenizer are those of the family's small model; everything that decides how many image tokens there are,
and where they lie, is as published.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature

from . import FAMILIES

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
CROP_336 = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}


@dataclass(frozen=True)
class FullSize:
    """How a published checkpoint differs from the family's small model."""

    family: str
    config: dict[str, Any]
    images: dict[str, Any] = field(default_factory=dict)  # of the image processor
    processor: dict[str, Any] = field(default_factory=dict)

    def build(self) -> tuple[Any, Any]:
        """(model on the meta device, processor)."""
        small, processor = FAMILIES[self.family].fresh()
        processor.image_processor = type(processor.image_processor)(**self.images)
        for name, value in self.processor.items():
            setattr(processor, name, value)
        names = ("image_token_id", "video_token_id", "image_token_index", "video_token_index")
        ids = {name: getattr(small.config, name) for name in names if name in small.config.to_dict()}
        with torch.device("meta"):
            return type(small)(type(small.config)(**self.config, **ids)), processor

    def inputs(self, processor: Any, pictures: list[Image.Image]) -> BatchFeature:
        """One prompt with all the pictures."""
        text = FAMILIES[self.family].prompts(images=len(pictures))
        return processor(images=[pictures], text=text, return_tensors="pt", add_special_tokens=False)


def gemma_text(tokens: int) -> str:
    """What Gemma 3's processor writes for a picture."""
    return f"\n\n<start_of_image>{'<image_soft_token>' * tokens}<end_of_image>\n\n"


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
}
