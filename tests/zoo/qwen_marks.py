"""Families whose picture is one grid between Qwen-VL's marks: Qwen3-VL and Qwen3.5, EXAONE, PaddleOCR-VL, LFM3-VL."""

from __future__ import annotations

from typing import Any

import transformers as t
from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import PaddleOCRVLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lvlm_saliency.model.processors import without_videos

from .qwen import TEMPLATE, marked_ids, marked_tokenizer
from .small import FILM, MROPE, PATCH, SIZE, SLIDING_FULL, TOWER, VIT, language, no_videos


def _processor(kind: type, tokenizer: Any, films: str = "Qwen3VLVideoProcessor") -> Any:
    return without_videos(kind)(
        Qwen2VLImageProcessorPil(size=SIZE, **PATCH),
        tokenizer,
        no_videos(films, **FILM),
        chat_template=TEMPLATE,
    )


_LINEAR = ["linear_attention", "full_attention"] * 2
_QWEN_TOWER = {**TOWER, "num_position_embeddings": 64}


def _qwen(model: str, text: str, rope: dict, tower: dict | None = None, **more: Any) -> tuple[Any, Any]:
    tokenizer = marked_tokenizer()
    config = getattr(t, model + "Config")(
        vision_config={**_QWEN_TOWER, **(tower or {})},
        text_config=language(text, tokenizer, rope_parameters=rope, **more),
        **marked_ids(tokenizer),
    )
    return getattr(t, model + "ForConditionalGeneration")(config), _processor(t.Qwen3VLProcessor, tokenizer)


def qwen3_vl_moe() -> tuple[Any, Any]:
    """As Qwen3-VL, with experts."""
    rope = {**MROPE, "mrope_interleaved": True}
    more = {"num_hidden_layers": 3, "mlp_only_layers": [0]}
    return _qwen("Qwen3VLMoe", "qwen3_vl_moe_text", rope, {"deepstack_visual_indexes": [0]}, **more)


_PARTIAL = {**MROPE, "mrope_section": [2, 1, 1], "mrope_interleaved": True, "partial_rotary_factor": 0.5}


def qwen3_5() -> tuple[Any, Any]:
    """A hybrid with pictures: every second layer is a gated delta net, full attention has an output gate."""
    return _qwen("Qwen3_5", "qwen3_5_text", _PARTIAL, layer_types=_LINEAR)


def qwen3_5_moe() -> tuple[Any, Any]:
    """As Qwen3.5, with experts."""
    return _qwen("Qwen3_5Moe", "qwen3_5_moe_text", _PARTIAL, layer_types=_LINEAR)


def exaone4_5() -> tuple[Any, Any]:
    """EXAONE 4.5: sliding layers with RoPE, full ones without; window attention in the tower."""
    tokenizer = marked_tokenizer()
    config = t.Exaone4_5_Config(
        vision_config={**TOWER, "window_size": 32, "fullatt_block_indexes": [1], "num_key_value_heads": 2},
        text_config=language("exaone4", tokenizer, layer_types=SLIDING_FULL * 2, sliding_window=14),
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
    )
    processor = _processor(t.Exaone4_5_Processor, tokenizer, "Qwen2VLVideoProcessor")
    return t.Exaone4_5_ForConditionalGeneration(config), processor


def paddleocr_vl() -> tuple[Any, Any]:
    """PaddleOCR-VL: patches come as small pictures; the language model of ERNIE 4.5 with m-RoPE."""
    tokenizer = marked_tokenizer()
    config = t.PaddleOCRVLConfig(
        vision_config={
            **VIT,
            "image_size": 64,
            "patch_size": 8,
        },
        text_config=language("paddleocr_vl_text", tokenizer, rope_parameters=MROPE, num_hidden_layers=3),
        **marked_ids(tokenizer),
    )
    images = PaddleOCRVLImageProcessorPil(size=SIZE, patch_size=8, merge_size=2, temporal_patch_size=1)
    processor = t.PaddleOCRVLProcessor(images, tokenizer, chat_template=TEMPLATE)
    return t.PaddleOCRVLForConditionalGeneration(config), processor


def lfm3_vl() -> tuple[Any, Any]:
    """LFM3-VL: a hybrid of short convolutions, sliding and full attention; the tower has convolutions too."""
    tokenizer = marked_tokenizer()
    kinds = ["conv", "sliding_attention", "conv", "full_attention"]
    config = t.Lfm3VlConfig(
        vision_config={
            **VIT,
            "num_key_value_heads": 2,
            "patch_size": 8,
        },
        text_config=language("lfm3", tokenizer, layer_types=kinds, sliding_window=14, num_hidden_layers=4),
        projector_hidden_size=48,
        **marked_ids(tokenizer),
    )
    return t.Lfm3VlForConditionalGeneration(config), _processor(t.Lfm3VlProcessor, tokenizer)
