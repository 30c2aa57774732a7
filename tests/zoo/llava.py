"""LLaVA-1.5, LLaVA-NeXT and LLaVA-OneVision in miniature."""

from __future__ import annotations

from typing import Any

from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionProcessor,
    LlavaProcessor,
    MistralConfig,
    Qwen2Config,
    SiglipVisionConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

from lvlm_saliency.model.processors import PicturesOnly, without_videos

from .tokenizer import build_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message.role | upper }}: "
    "{% for part in message.content %}{% if part.type == 'image' %}<image>\n{% else %}{{ part.text }}{% endif %}"
    "{% endfor %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' %}<image>{% elif part.type == 'video' %}<video>"
    "{% endif %}{% endfor %}\n"
    "{% for part in message.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def text_sizes(tokenizer: Any, **more: Any) -> dict[str, Any]:
    """The sizes that every language model of the zoo shares."""
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return {**sizes, **more}


VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}


def llava() -> tuple[Any, Any]:
    """4 x 4 image tokens from CLIP with its class token dropped; multi-head attention as in Vicuna."""
    tokenizer = build_tokenizer(image_token="<image>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, image_size=28, patch_size=7, projection_dim=32),
        text_config=LlamaConfig(**text_sizes(tokenizer, num_key_value_heads=4)),
        image_token_index=tokenizer.image_token_id,
        image_seq_length=16,
    )
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer,
        patch_size=7,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    return LlavaForConditionalGeneration(config), processor


def llava_next() -> tuple[Any, Any]:
    """Anyres: a 4 x 4 base grid, then the unpadded tiles with a newline token after every row; Mistral with GQA."""
    tokenizer = build_tokenizer(image_token="<image>")
    pinpoints = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION, image_size=28, patch_size=7, projection_dim=32),
        text_config=MistralConfig(**text_sizes(tokenizer), sliding_window=None),
        image_token_index=tokenizer.image_token_id,
        image_seq_length=16,
        image_grid_pinpoints=pinpoints,
    )
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=pinpoints
        ),
        tokenizer,
        patch_size=7,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    return LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> tuple[Any, Any]:
    """SigLIP at 3 x 3, anyres up to 5 x 5 tiles but at most 4 tiles' worth of tokens, so large grids are shrunk."""
    tokenizer = build_tokenizer(
        "<|im_start|>", bos=None, eos="<|im_end|>", image_token="<image>", video_token="<video>"
    )
    pinpoints = [[21 * rows, 21 * columns] for rows in range(1, 6) for columns in range(1, 6)]
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**VISION, image_size=21, patch_size=7, vision_use_head=False),
        text_config=Qwen2Config(**text_sizes(tokenizer), tie_word_embeddings=False),
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=pinpoints,
        vision_aspect_ratio="anyres_max_4",
    )
    processor = without_videos(LlavaOnevisionProcessor)(
        LlavaOnevisionImageProcessorPil(size={"height": 21, "width": 21}, image_grid_pinpoints=pinpoints),
        tokenizer,
        PicturesOnly(video_processor_type="LlavaOnevisionVideoProcessor", size={"height": 21, "width": 21}),
        num_image_tokens=9,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_4",
        chat_template=CHATML,
    )
    return LlavaOnevisionForConditionalGeneration(config), processor
