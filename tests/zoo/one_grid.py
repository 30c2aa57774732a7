"""Families whose picture is one grid between marks of their own: GLM-V, ERNIE, Hunyuan, Kimi, MiniMax, Muse."""

from __future__ import annotations

from typing import Any

import transformers as t
from transformers.models.ernie4_5_vl_moe.image_processing_pil_ernie4_5_vl_moe import Ernie4_5_VLMoeImageProcessorPil
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.glm5_next.image_processing_pil_glm5_next import Glm5NextImageProcessorPil
from transformers.models.glm46v.image_processing_pil_glm46v import Glm46VImageProcessorPil
from transformers.models.hunyuan_vl.image_processing_pil_hunyuan_vl import HunYuanVLImageProcessorPil

from lvlm_saliency.model.processors import without_videos

from .small import FILM, MROPE, PATCH, SIZE, TOWER, VIT, chat, chat_tokenizer, language, no_videos

GLM = chat("<|begin_of_image|><|image|><|end_of_image|>", video="<|begin_of_video|><|video|><|end_of_video|>")


def _glm_tokenizer() -> Any:
    return chat_tokenizer(
        "<|begin_of_image|>",
        "<|end_of_image|>",
        "<|begin_of_video|>",
        "<|end_of_video|>",
        image_token="<|image|>",
        video_token="<|video|>",
    )


def _glm_ids(tokenizer: Any) -> dict[str, int]:
    marks = {"image_start": "begin_of_image", "image_end": "end_of_image"}
    marks |= {"video_start": "begin_of_video", "video_end": "end_of_video", "image": "image", "video": "video"}
    return {f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{mark}|>") for name, mark in marks.items()}


def _glm(model: str, text: str, kind: str = "Glm4v", tower: dict | None = None, **more: Any) -> tuple[Any, Any]:
    tokenizer = _glm_tokenizer()
    half = {"mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5} if more.pop("half", False) else {}
    rope = {**MROPE, **half}
    config = getattr(t, model + "Config")(
        vision_config={**TOWER, "image_size": 64, **(tower or {})},
        text_config=language(text, tokenizer, rope_parameters=rope, **{"num_hidden_layers": 3, **more}),
        **_glm_ids(tokenizer),
    )
    images = {"Glm4v": Glm4vImageProcessorPil, "Glm46V": Glm46VImageProcessorPil}[kind]
    size = {"shortest_edge": 2 * SIZE["shortest_edge"], "longest_edge": 2 * SIZE["longest_edge"]}  # of two frames
    processor = without_videos(getattr(t, kind + "Processor"))(
        images(size=size, **PATCH), tokenizer, no_videos(kind + "VideoProcessor", **FILM), chat_template=GLM
    )
    return getattr(t, model + "ForConditionalGeneration")(config), processor


def glm4v() -> tuple[Any, Any]:
    """GLM-4.1V: m-RoPE, sandwich norms."""
    return _glm("Glm4v", "glm4v_text")


def glm46v() -> tuple[Any, Any]:
    """GLM-4.6V: the language model of GLM-4.1V."""
    return _glm("Glm46V", "glm4v_text", "Glm46V")


def glm4v_moe() -> tuple[Any, Any]:
    """GLM-4.5V: experts behind the first layer, half of a head rotates."""
    return _glm("Glm4vMoe", "glm4v_moe_text", half=True, first_k_dense_replace=1)


def glm_ocr() -> tuple[Any, Any]:
    """GLM-OCR: the same with norms of queries and keys in the tower."""
    return _glm("GlmOcr", "glm_ocr_text", "Glm46V")


def ernie4_5_vl_moe() -> tuple[Any, Any]:
    """ERNIE 4.5 VL: experts of their own for pictures, chosen by the type of the token."""
    named = {
        f"{kind}_{part}token": f"<|{kind}_{part}|>" for kind in ("image", "video") for part in ("start_", "end_", "")
    }
    tokenizer = chat_tokenizer(**named)
    config = t.Ernie4_5_VLMoeConfig(
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 8},
        text_config=language(
            "ernie4_5_vl_moe_text",
            tokenizer,
            num_hidden_layers=3,
            moe_intermediate_size=[32, 16],
            rope_parameters={**MROPE, "mrope_section": [3, 3, 2]},
        ),
        **{f"{name}_id": getattr(tokenizer, f"{name}_id") for name in named},
    )
    processor = without_videos(t.Ernie4_5_VLMoeProcessor)(
        Ernie4_5_VLMoeImageProcessorPil(size=SIZE, patch_size=8, merge_size=2),
        tokenizer,
        no_videos("Ernie4_5_VLMoeVideoProcessor", **PATCH, font="", draw_on_frames=False),
        chat_template=chat("<|image_start|><|image_|><|image_end|>"),
    )
    return t.Ernie4_5_VLMoeForConditionalGeneration(config), processor


def hunyuan_vl() -> tuple[Any, Any]:
    """Hunyuan-VL: rows end in a newline feature, the picture begins and ends with one: all under the image token."""
    tokenizer = chat_tokenizer(
        "<|im_newline|>", image_token="<|img|>", image_start_token="<|im_begin|>", image_end_token="<|im_stop|>"
    )
    config = t.HunYuanVLConfig(
        vision_config={
            **VIT,
            "out_hidden_size": 64,
            "patch_size": 8,
            "max_image_size": 128,
            "min_image_size": 16,
        },
        text_config=language(
            "hunyuan_vl_text",
            tokenizer,
            num_hidden_layers=3,
            rope_parameters={
                "rope_type": "dynamic",
                "rope_theta": 1e4,
                "alpha": 10.0,
                "factor": 1.0,
                "mrope_section": [2, 2, 2, 2],
            },
        ),
        image_token_id=tokenizer.image_token_id,
        im_start_id=tokenizer.image_start_token_id,
        im_end_id=tokenizer.image_end_token_id,
        im_newline_id=tokenizer.convert_tokens_to_ids("<|im_newline|>"),
    )
    images = HunYuanVLImageProcessorPil(size=SIZE, patch_size=8, merge_size=2)
    template = chat("<|im_begin|><|img|><|im_stop|>")
    return t.HunYuanVLForConditionalGeneration(config), t.HunYuanVLProcessor(images, tokenizer, chat_template=template)


def kimi_k25() -> tuple[Any, Any]:
    """Kimi K2.5 and K2.6: latent attention with experts, a tower of 2-D positions."""
    tokenizer = chat_tokenizer(
        "<|media_begin|>", "<|media_content|>", "<|media_end|>", image_token="<|media_pad|>", video_token="<|video|>"
    )
    text = language("deepseek_v3", tokenizer, first_k_dense_replace=1, num_key_value_heads=4, head_dim=8)
    config = t.Kimi_K25Config(
        vision_config={
            **VIT,
            "patch_size": 8,
            "pos_emb_height": 8,
            "pos_emb_width": 8,
        },
        text_config=text,
        projection_hidden_size=32,
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|media_begin|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|media_end|>"),
    )
    images = t.Kimi_K25ImageProcessor(max_patches=80, patch_size=8, size={"max_height": 128, "max_width": 128})
    processor = without_videos(t.Kimi_K25Processor)(
        images,
        tokenizer,
        no_videos("Kimi_K25VideoProcessor", **PATCH),
        chat_template=chat("<|media_begin|>image<|media_content|><|media_pad|><|media_end|>"),
    )
    return t.Kimi_K25ForConditionalGeneration(config), processor


def minimax_m3_vl() -> tuple[Any, Any]:
    """MiniMax M3: layers that attend to chosen blocks of keys."""
    tokenizer = chat_tokenizer(image_token="]<]image[>[", video_token="]<]video[>[")
    text = language(
        "minimax_m3_vl_text", tokenizer, index_block_size=4, index_topk_blocks=3, index_n_heads=2, rotary_dim=8,
        dense_intermediate_size=96,
    )  # fmt: skip
    config = t.MiniMaxM3VLConfig(
        vision_config={
            **VIT,
            "image_size": 64,
            "patch_size": 8,
        },
        text_config=text,
        projector_hidden_size=64,
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
    )
    processor = without_videos(t.MiniMaxM3VLProcessor)(
        t.MiniMaxM3VLImageProcessor(size=SIZE, **PATCH),
        tokenizer,
        no_videos("MiniMaxM3VLVideoProcessor", **PATCH),
        chat_template=chat("]<]image[>["),
    )
    return t.MiniMaxM3SparseForConditionalGeneration(config), processor


def muse_glimmer() -> tuple[Any, Any]:
    """Muse Glimmer: sliding layers and full ones without positions, attention gated, logits soft-capped."""
    tokenizer = chat_tokenizer(
        "<|patch|>", "<|image_start|>", "<|image_end|>", "<|video|>", "<|vid_frame_separator|>", "<|vid_start|>",
        "<|vid_end|>", "<|image|>",
    )  # fmt: skip
    config = t.MuseGlimmerConfig(
        vision_config={
            **VIT,
            "patch_size": 8,
            "pos_emb_height": 8,
            "pos_emb_width": 8,
        },
        text_config=language("muse_glimmer_text", tokenizer, sliding_window=14),
        out_hidden_size=128,
        projector_hidden_size=48,
        image_token_id=tokenizer.convert_tokens_to_ids("<|patch|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
    )
    processor = without_videos(t.MuseGlimmerProcessor)(
        t.MuseGlimmerImageProcessor(max_image_tokens=20, **PATCH),
        no_videos("MuseGlimmerVideoProcessor", **PATCH),
        tokenizer,
        chat_template=chat("<|patch|>"),
    )
    return t.MuseGlimmerForConditionalGeneration(config), processor


def glm5_next() -> tuple[Any, Any]:
    """GLM-5: a hybrid of linear attention and latents with an indexer that chooses keys."""
    tokenizer = _glm_tokenizer()
    kinds = ["linear_attention", "full_attention"] * 2
    text = language("glm5_next_text", tokenizer, layer_types=kinds, num_key_value_heads=4, qk_rope_head_dim=0,
                    qk_nope_head_dim=16, index_kpool=2, index_topk=8, hc_mult=2)  # fmt: skip
    config = t.Glm5NextConfig(
        vision_config={**TOWER, "image_size": 64, "projection_intermediate_size": 48},
        text_config=text,
        **_glm_ids(tokenizer),
    )
    processor = without_videos(t.Glm5NextProcessor)(
        Glm5NextImageProcessorPil(min_image_tokens=4, max_image_tokens=20, **PATCH),
        tokenizer,
        no_videos("Glm5NextVideoProcessor", min_image_tokens=4, max_image_tokens=32, **FILM),
        chat_template=GLM,
    )
    return t.Glm5NextForConditionalGeneration(config), processor
