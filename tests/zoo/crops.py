"""Families that cut pictures: Llama 4, Aya, Cohere, Ovis, DeepSeek-OCR, Step, Phi-4, Molmo, LFM, MiniCPM, Granite."""

from __future__ import annotations

from typing import Any

import transformers as t
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import DeepseekOcr2ImageProcessorPil
from transformers.models.deepseek_vl.image_processing_pil_deepseek_vl import DeepseekVLImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import MiniCPMV4_6ImageProcessorPil
from transformers.models.ovis2.image_processing_pil_ovis2 import Ovis2ImageProcessorPil

from lvlm_saliency.model.processors import without_videos

from .one_grid import PATCH
from .small import MROPE, SLIDING_FULL, VIT, chat, chat_tokenizer, language, no_videos


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
    return getattr(t, model + "ForConditionalGeneration")(config), processor


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
    return t.Llama4ForConditionalGeneration(config), processor


_SIGLIP = {**VIT, "model_type": "siglip_vision_model", "image_size": 32, "patch_size": 4, "vision_use_head": False}


def aya_vision() -> tuple[Any, Any]:
    """Aya Vision: tiles with a number, the whole picture last; sliding layers and full ones without positions."""
    tokenizer = chat_tokenizer(
        "<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL",
        bos="<s>",
    )  # fmt: skip
    config = t.AyaVisionConfig(
        vision_config=_SIGLIP,
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
        vision_config=_SIGLIP,
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
    return t.Molmo2ForConditionalGeneration(config), processor


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
        vision_config={**_SIGLIP, "num_hidden_layers": 3, "hidden_size": 64},
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
