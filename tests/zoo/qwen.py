"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL in miniature, and the hybrid Qwen3.5 language model."""

from __future__ import annotations

from typing import Any

from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lvlm_saliency.model.processors import PicturesOnly, without_videos

from .llava import text_sizes
from .small import MROPE
from .tokenizer import build_tokenizer

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def marked_tokenizer() -> Any:
    """A tokenizer with the marks of pictures and videos."""
    return build_tokenizer(
        "<|im_start|>",
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
    )


def marked_ids(tokenizer: Any) -> dict[str, int]:
    """The ids of these marks, as configurations call them."""
    return {
        "image_token_id": tokenizer.image_token_id,
        "video_token_id": tokenizer.video_token_id,
        "vision_start_token_id": tokenizer.vision_start_token_id,
        "vision_end_token_id": tokenizer.vision_end_token_id,
    }


def _processor(processor_class: type, tokenizer: Any, patch_size: int, video: str) -> Any:
    pixels = (2 * patch_size) ** 2  # of one token
    size = {"shortest_edge": 4 * pixels, "longest_edge": 20 * pixels}
    film = {"shortest_edge": 4 * pixels, "longest_edge": (40 if video == "Qwen3VLVideoProcessor" else 20) * pixels}
    settings = {"patch_size": patch_size, "merge_size": 2, "temporal_patch_size": 2}
    return without_videos(processor_class)(
        Qwen2VLImageProcessorPil(size=size, **settings),
        tokenizer,
        PicturesOnly(video_processor_type=video, size=film, **settings),
        chat_template=TEMPLATE,
    )


def qwen2_vl() -> tuple[Any, Any]:
    """A grid as wide and high as the picture wants, 2 x 2 patches to a token; m-RoPE."""
    tokenizer = marked_tokenizer()
    config = Qwen2VLConfig(
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 6},
        text_config=text_sizes(tokenizer, rope_parameters=MROPE),
        **marked_ids(tokenizer),
    )
    return Qwen2VLForConditionalGeneration(config), _processor(Qwen2VLProcessor, tokenizer, 6, "Qwen2VLVideoProcessor")


def qwen2_5_vl() -> tuple[Any, Any]:
    """As Qwen2-VL, with window attention in the vision tower, whose tokens it puts back in order."""
    tokenizer = marked_tokenizer()
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 64,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 6,
            "window_size": 24,
            "fullatt_block_indexes": [1],
        },
        text_config=text_sizes(tokenizer, rope_parameters=MROPE),
        **marked_ids(tokenizer),
    )
    processor = _processor(Qwen2_5_VLProcessor, tokenizer, 6, "Qwen2VLVideoProcessor")
    return Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3_vl() -> tuple[Any, Any]:
    """Vision features also added at the image positions behind the first layer (deepstack); interleaved m-RoPE."""
    tokenizer = marked_tokenizer()
    config = Qwen3VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 64,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 8,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        text_config=text_sizes(tokenizer, head_dim=16, rope_parameters={**MROPE, "mrope_interleaved": True}),
        **marked_ids(tokenizer),
    )
    return Qwen3VLForConditionalGeneration(config), _processor(Qwen3VLProcessor, tokenizer, 8, "Qwen3VLVideoProcessor")


def qwen3_5() -> tuple[Any, Any]:
    """A hybrid: only layers 1 and 3 of four have attention, the others are linear."""
    tokenizer = build_tokenizer("<|im_start|>", bos=None, eos="<|im_end|>", pad="<|endoftext|>")
    tokenizer.chat_template = TEMPLATE
    config = Qwen3_5TextConfig(
        **text_sizes(tokenizer, num_hidden_layers=4),
        head_dim=16,
        layer_types=["linear_attention", "full_attention"] * 2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [2, 1, 1],
            "mrope_interleaved": True,
        },
    )
    return Qwen3_5ForCausalLM(config), tokenizer
