"""Families that cut pictures into tiles: Llama 4, Aya, Cohere, Ovis, DeepSeek, Step, Molmo."""

from __future__ import annotations

from typing import Any

import transformers as t
from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import DeepseekOcr2ImageProcessorPil
from transformers.models.deepseek_vl.image_processing_pil_deepseek_vl import DeepseekVLImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.ovis2.image_processing_pil_ovis2 import Ovis2ImageProcessorPil

from lvlm_saliency.model.processors import without_videos

from .small import PATCH, SLIDING_FULL, VIT, chat, chat_tokenizer, language, no_videos


def llama4() -> tuple[Any, Any]:
    """Llama 4: layers that look back over chunks, and full ones without positions; tiles, then the whole picture."""
    tokenizer = chat_tokenizer(
        "<|image|>", "<|image_start|>", "<|image_end|>", "<|patch|>", "<|tile_x_separator|>", "<|tile_y_separator|>",
        bos="<s>",
    )  # fmt: skip
    config = t.Llama4Config(
        vision_config={
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
            "vision_output_dim": 48, "projector_input_dim": 48, "projector_output_dim": 48, "image_size": 32,
            "patch_size": 8,
        },
        text_config=language(
            "llama4_text", tokenizer, attention_chunk_size=24, no_rope_layers=[1, 1, 1, 0], intermediate_size_mlp=96,
            num_local_experts=4, interleave_moe_layer_step=2, floor_scale=16, num_experts_per_tok=1,
        ),
        boi_token_index=tokenizer.convert_tokens_to_ids("<|image_start|>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<|image_end|>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<|patch|>"),
    )  # fmt: skip
    processor = t.Llama4Processor(
        t.Llama4ImageProcessor(size={"height": 32, "width": 32}, max_patches=6),
        tokenizer,
        patch_size=8,
        chat_template=chat("<|image|>", "{{ bos_token }}"),
    )
    model = t.Llama4ForConditionalGeneration(config)
    # Without a cache transformers counts a picture's token that the model wrote among those of the prompt, and fails.
    model.generation_config.suppress_tokens = [config.image_token_index]
    return model, processor


SIGLIP = {**VIT, "model_type": "siglip_vision_model", "image_size": 32, "patch_size": 4, "vision_use_head": False}


def aya_vision() -> tuple[Any, Any]:
    """Aya Vision: tiles with a number, the whole picture last; sliding layers and full ones without positions."""
    tokenizer = chat_tokenizer(
        "<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL",
        bos="<s>",
    )  # fmt: skip
    config = t.AyaVisionConfig(
        vision_config=SIGLIP,
        text_config=language("cohere2", tokenizer, layer_types=SLIDING_FULL * 2, sliding_window=14, head_dim=16),
        image_token_index=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
        adapter_layer_norm_eps=1e-6,
    )
    processor = t.AyaVisionProcessor(
        GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, crop_to_patches=True, min_patches=1, max_patches=6),
        tokenizer,
        patch_size=4,
        img_size=32,
        downsample_factor=2,
        chat_template=chat("<image>", "{{ bos_token }}"),
    )
    return t.AyaVisionForConditionalGeneration(config), processor


def cohere2_vision() -> tuple[Any, Any]:
    """Command A Vision: every tile ends in a line-break token, the whole picture is the last tile."""
    tokenizer = chat_tokenizer(
        bos="<s>", image_token="<|IMG_PATCH|>", boi_token="<|START_OF_IMG|>", eoi_token="<|END_OF_IMG|>",
        img_line_break_token="<|IMG_LINE_BREAK|>",
    )  # fmt: skip
    config = t.Cohere2VisionConfig(
        vision_config=SIGLIP,
        text_config=language("cohere2", tokenizer, layer_types=SLIDING_FULL * 2, sliding_window=14, head_dim=16),
        image_token_id=tokenizer.image_token_id,
        alignment_intermediate_size=96,
    )
    processor = t.Cohere2VisionProcessor(
        # patch_size is the side of a tile in tokens here
        t.Cohere2VisionImageProcessor(size={"height": 32, "width": 32}, max_patches=6, patch_size=4),
        tokenizer,
        chat_template=chat("<|IMG_PATCH|>", "{{ bos_token }}"),
    )
    return t.Cohere2VisionForConditionalGeneration(config), processor


def ovis2() -> tuple[Any, Any]:
    """Ovis 2: a vocabulary of pictures; the whole picture first, then its tiles with markers between them."""
    marks = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    tokenizer = chat_tokenizer("<image>", "<IMG_ATOM>", *marks)
    config = t.Ovis2Config(
        vision_config={**VIT, "image_size": 32, "patch_size": 4, "vocab_size": 40, "hidden_stride": 2},
        text_config=language("qwen2", tokenizer, num_hidden_layers=3),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_ATOM>"),
        visual_indicator_token_ids=tokenizer.convert_tokens_to_ids(marks),
        vocab_size=len(tokenizer),
        hidden_size=64,
    )
    processor = t.Ovis2Processor(
        Ovis2ImageProcessorPil(size={"height": 32, "width": 32}, crop_to_patches=True, max_patches=6),
        tokenizer,
        image_seq_length=16,
        chat_template=chat("<image>"),
    )
    model = t.Ovis2ForConditionalGeneration(config)
    # A marker that the model writes gets the embedding of a picture's marker where the pictures are passed again
    # (without a cache), and its own where they are not: plain transformers gives two texts then. It writes none here.
    model.generation_config.suppress_tokens = tokenizer.convert_tokens_to_ids(["<image>", "<IMG_ATOM>", *marks])
    return model, processor


def deepseek_vl() -> tuple[Any, Any]:
    """DeepSeek-VL: one square grid over the picture padded to a square."""
    tokenizer = chat_tokenizer(image_token="<image_placeholder>", bos="<s>")
    config = t.DeepseekVLConfig(
        vision_config={**VIT, "image_size": 32, "patch_size": 8},
        text_config=language("llama", tokenizer, num_hidden_layers=3),
        image_token_id=tokenizer.image_token_id,
    )
    processor = t.DeepseekVLProcessor(
        DeepseekVLImageProcessorPil(size={"height": 32, "width": 32}, min_size=4),
        tokenizer,
        num_image_tokens=16,
        chat_template=chat("<image_placeholder>", "{{ bos_token }}"),
    )
    return t.DeepseekVLForConditionalGeneration(config), processor


def deepseek_ocr2() -> tuple[Any, Any]:
    """DeepSeek-OCR 2: learned queries read the picture one by one; crops first, then the whole, then a mark."""
    tokenizer = chat_tokenizer(image_token="<image>", bos="<s>")
    config = t.DeepseekOcr2Config(
        vision_config={
            "sam_config": {
                "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "image_size": 256, "patch_size": 4, "window_size": 8, "global_attn_indexes": [], "mlp_dim": 48,
                "downsample_channels": [24, 32],
            },
            "encoder_config": {
                "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
                "num_key_value_heads": 2, "vocab_size": 10,
            },
        },
        text_config=language(
            "deepseek_ocr2_text", tokenizer, num_key_value_heads=4, mlp_layer_types=["dense", "sparse", "sparse"],
            num_hidden_layers=3, head_dim=16, n_group=None, topk_group=None,
        ),
        image_token_id=tokenizer.image_token_id,
    )  # fmt: skip
    processor = t.DeepseekOcr2Processor(
        # 256 and 144 queries are the only numbers that the model knows
        DeepseekOcr2ImageProcessorPil(size={"height": 256, "width": 256}, tile_size=192, max_patches=3),
        tokenizer,
        patch_size=4,
        chat_template=chat("<image>", "{{ bos_token }}"),
    )
    return t.DeepseekOcr2ForConditionalGeneration(config), processor


def step3p7() -> tuple[Any, Any]:
    """Step 3.7: crops of a window that fits the picture's shape, then the whole; sliding layers have other heads."""
    tokenizer = chat_tokenizer(
        "<im_patch>", "<patch_start>", "<patch_end>", "<patch_newline>", "<im_start>", "<im_end>", bos="<s>"
    )
    config = t.Step3p7Config(
        vision_config={**VIT, "image_size": 64, "patch_size": 4, "max_position_embeddings": 256},
        text_config=language(
            "step3p5", tokenizer, layer_types=SLIDING_FULL * 2, sliding_window=14, num_sliding_attention_heads=2,
            share_expert_dim=32, mlp_layer_types=["dense", "sparse", "sparse", "dense"],
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<im_patch>"),
    )  # fmt: skip
    processor = t.Step3p7Processor(
        t.Step3p7ImageProcessor(
            size={"height": 64, "width": 64}, patch_size=48, vision_patch_size=4, max_image_size=400
        ),
        tokenizer,
        chat_template=chat("<im_patch>", "{{ bos_token }}"),
    )
    return t.Step3p7ForConditionalGeneration(config), processor


def molmo2() -> tuple[Any, Any]:
    """Molmo 2: the whole picture, then overlapping crops joined into one grid; all image tokens see one another."""
    tokenizer = chat_tokenizer(
        "<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<frame_start>", "<im_end>", "<frame_end>",
        "<im_low>", bos="<s>", image_token="<|image|>", video_token="<|video|>",
    )  # fmt: skip
    mark = tokenizer.convert_tokens_to_ids
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
    config = t.Molmo2Config(
        vision_config={**VIT, **heads, "num_hidden_layers": 3, "image_size": [48, 48], "patch_size": 8,
                       "num_position_embeddings": 36},
        adapter_config={**heads, "hidden_size": 32, "intermediate_size": 48, "text_hidden_size": 64,
                        "vision_feature_layer": [-1, -3]},
        text_config=language("molmo2_text", tokenizer, additional_vocab_size=8, num_hidden_layers=3),
        image_start_token_id=mark("<im_start>"),
        low_res_image_start_token_id=mark("<low_res_im_start>"),
        image_end_token_id=mark("<im_end>"),
        image_patch_id=mark("<im_patch>"),
        frame_start_token_id=mark("<frame_start>"),
        frame_end_token_id=mark("<frame_end>"),
    )  # fmt: skip
    processor = without_videos(t.Molmo2Processor)(
        t.Molmo2ImageProcessor(size={"height": 48, "width": 48}, max_crops=4, patch_size=8, overlap_margins=[1, 1]),
        no_videos("Molmo2VideoProcessor", **PATCH),
        tokenizer,
        chat_template=chat("<|image|>", "{{ bos_token }}"),
    )
    model = t.Molmo2ForConditionalGeneration(config)
    # Written by the model itself, a patch counts as part of the picture where there is no cache, and as text with one.
    model.generation_config.suppress_tokens = [mark("<im_patch>")]
    return model, processor
