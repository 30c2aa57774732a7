"""Families that read pictures in their own shape, whole or beside tiles: Mistral, Phi-4, LFM, MiniCPM, Granite."""

from __future__ import annotations

from typing import Any

import transformers as t
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import MiniCPMV4_6ImageProcessorPil

from lvlm_saliency.model.processors import without_videos

from .crops import SIGLIP
from .small import MROPE, VIT, chat, chat_tokenizer, language, no_videos


def mistral3() -> tuple[Any, Any]:
    """Mistral 3: the picture's own shape, rows that end in [IMG_BREAK]; queries scaled by their position."""
    return _mistral("Mistral3", "ministral3", num_hidden_layers=3, head_dim=16)


def mistral_large4() -> tuple[Any, Any]:
    """Mistral Large 4: latents that layers share, and an indexer that chooses keys."""
    return _mistral("MistralLarge4", "mistral_large4_text", num_key_value_heads=4)


def _mistral(model: str, text: str, **more: Any) -> tuple[Any, Any]:
    tokenizer = chat_tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]", bos="<s>")
    config = getattr(t, model + "Config")(
        vision_config={**VIT, "model_type": "pixtral", "image_size": 96, "patch_size": 8, "head_dim": 16},
        text_config=language(text, tokenizer, **more),
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )
    images = t.PixtralImageProcessor(size={"longest_edge": 64}, patch_size={"height": 8, "width": 8})
    processor = t.PixtralProcessor(
        images, tokenizer, patch_size=8, spatial_merge_size=2, chat_template=chat("[IMG]", "{{ bos_token }}")
    )
    made = getattr(t, model + "ForConditionalGeneration")(config)
    # Written by the model itself, it counts as part of the picture where there is no cache, and as text with one.
    made.generation_config.suppress_tokens = [config.image_token_index]
    return made, processor


def phi4_multimodal() -> tuple[Any, Any]:
    """Phi-4-multimodal: crops of a canvas that is padded to the right and below, joined row by row; then the whole."""
    tokenizer = chat_tokenizer(bos="<s>", image_token="<|image|>", audio_token="<|audio|>")
    ids = {part: getattr(tokenizer, part) for part in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = t.Phi4MultimodalConfig(
        vision_config={**VIT, "num_hidden_layers": 3, "image_size": 448, "crop_size": 448, "patch_size": 14,
                       "image_token_id": tokenizer.image_token_id},
        audio_config={
            "hidden_size": 16, "intermediate_size": 16, "num_blocks": 3, "num_attention_heads": 2,
            "ext_pw_out_channel": 16, "nemo_conv_channels": 8, "depthwise_separable_out_channel": 8,
            "audio_token_id": tokenizer.audio_token_id,
        },
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, original_max_position_embeddings=4096, **ids,
    )  # fmt: skip
    tokenizer.chat_template = chat("<|image|>", "{{ bos_token }}")
    processor = t.Phi4MultimodalProcessor(
        t.Phi4MultimodalImageProcessor(dynamic_hd=4),
        t.Phi4MultimodalFeatureExtractor(),
        tokenizer,
    )
    return t.Phi4MultimodalForCausalLM(config), processor


def lfm2_vl() -> tuple[Any, Any]:
    """LFM2-VL: a hybrid of short convolutions and attention; tiles with markers, then the whole in its own shape."""
    marks = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = chat_tokenizer(
        *marks,
        "<|img_thumbnail|>",
        bos="<s>",
        image_token="<image>",
        image_start_token="<|image_start|>",
        image_end_token="<|image_end|>",
        vocabulary=450,
    )
    config = t.Lfm2VlConfig(
        vision_config={**VIT, "model_type": "siglip2_vision_model", "patch_size": 8, "num_patches": 64,
                       "vision_use_head": False},
        text_config=language("lfm2", tokenizer, layer_types=["conv", "full_attention"] * 2),
        image_token_id=tokenizer.image_token_id,
        projector_hidden_size=48,
    )  # fmt: skip
    processor = t.Lfm2VlProcessor(
        t.Lfm2VlImageProcessor(
            encoder_patch_size=8, tile_size=32, max_tiles=6, min_image_tokens=4, max_image_tokens=12,
            max_pixels_tolerance=1.2,
        ),
        tokenizer,
        chat_template=chat("<image>", "{{ bos_token }}"),
    )  # fmt: skip
    return t.Lfm2VlForConditionalGeneration(config), processor


def minicpmv4_6() -> tuple[Any, Any]:
    """MiniCPM-V 4.6: a hybrid; the whole picture, then slices of its shape."""
    return _minicpm("MiniCPMV4_6")


def minicpmv4_7() -> tuple[Any, Any]:
    """MiniCPM-V 4.7: the same with positions of the slices on one canvas."""
    return _minicpm("MiniCPMV4_7")


def _minicpm(kind: str) -> tuple[Any, Any]:
    named = {
        "image_start_token": "<image>", "image_end_token": "</image>", "slice_start_token": "<slice>",
        "slice_end_token": "</slice>", "image_id_start_token": "<image_id>", "image_id_end_token": "</image_id>",
    }  # fmt: skip
    tokenizer = chat_tokenizer(image_token="<|image_pad|>", video_token="<|video_pad|>", **named)
    rope = {**MROPE, "mrope_section": [2, 1, 1], "mrope_interleaved": True, "partial_rotary_factor": 0.5}
    ids = {"image_token_id": tokenizer.image_token_id, "video_token_id": tokenizer.video_token_id}
    if kind == "MiniCPMV4_7":
        ids |= {name.removesuffix("_token") + "_id": tokenizer.convert_tokens_to_ids(token)
                for name, token in named.items() if not name.startswith("image_id")}  # fmt: skip
        ids["newline_id"] = tokenizer.encode("\n", add_special_tokens=False)[0]
    config = getattr(t, kind + "Config")(
        vision_config={**VIT, "num_hidden_layers": 3, "image_size": 64, "patch_size": 4},
        text_config=language("qwen3_5_text", tokenizer, rope_parameters=rope,
                             layer_types=["linear_attention", "full_attention"] * 2),
        insert_layer_id=1,
        image_size=64,
        **ids,
    )  # fmt: skip
    processor = without_videos(getattr(t, kind + "Processor"))(
        MiniCPMV4_6ImageProcessorPil(patch_size=4, scale_resolution=48, max_slice_nums=4),
        no_videos("MiniCPMV4_6VideoProcessor", slice_mode=True, downsample_mode="16x"),
        tokenizer,
        chat_template=chat("<|image_pad|>"),
    )
    return getattr(t, kind + "ForConditionalGeneration")(config), processor


def granite4_vision() -> tuple[Any, Any]:
    """Granite 4 Vision: features of a window Q-Former enter behind several layers; tiles as in LLaVA-NeXT."""
    tokenizer = chat_tokenizer(image_token="<image>", bos="<s>")
    pinpoints = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]
    config = t.Granite4VisionConfig(
        vision_config={**SIGLIP, "num_hidden_layers": 3, "hidden_size": 64},
        text_config=language("granite4_vision_text", tokenizer, embedding_multiplier=4.0, logits_scaling=0.5,
                             residual_multiplier=0.6, attention_multiplier=0.25),
        qformer_config={"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48, "encoder_hidden_size": 64,
                        "num_hidden_layers": 1},
        image_token_index=tokenizer.image_token_id,
        image_grid_pinpoints=pinpoints,
        downsample_rate="1/2",
        deepstack_layer_map=[[-2, 0], [-1, 1]],
        spatial_target_layers=[2, 3],
        vision_feature_select_strategy="full",
        image_seq_length=16,
        projector_dropout=0.0,
    )  # fmt: skip
    processor = t.Granite4VisionProcessor(
        LlavaNextImageProcessorPil(
            size={"height": 32, "width": 32},
            crop_size={"height": 32, "width": 32},
            do_center_crop=False,
            image_grid_pinpoints=pinpoints,
        ),
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy="full",
        downsample_rate="1/2",
        chat_template=chat("<image>", "{{ bos_token }}"),
    )
    return t.Granite4VisionForConditionalGeneration(config), processor


def video_llava() -> tuple[Any, Any]:
    """Video-LLaVA on pictures: a square grid from CLIP."""
    tokenizer = chat_tokenizer(image_token="<image>", video_token="<video>", bos="<s>")
    config = t.VideoLlavaConfig(
        vision_config={**VIT, "model_type": "clip_vision_model", "num_hidden_layers": 3, "image_size": 32,
                       "patch_size": 8},
        text_config=language("llama", tokenizer, num_hidden_layers=3),
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_seq_length=16,
    )  # fmt: skip
    processor = t.VideoLlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        no_videos("VideoLlavaVideoProcessor"),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat("<image>", "{{ bos_token }}"),
    )
    return t.VideoLlavaForConditionalGeneration(config), processor
