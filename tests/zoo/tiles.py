"""InternVL, Idefics3, SmolVLM and Gemma 3 in miniature: pictures cut into tiles of one size."""

from __future__ import annotations

from typing import Any

from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    LlamaConfig,
    Qwen2Config,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMProcessor,
)
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from lvlm_saliency.model.processors import PicturesOnly, without_videos

from .llava import VISION, text_sizes
from .tokenizer import build_tokenizer

INTERNVL = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<IMG_CONTEXT>\n{% elif part.type == 'video' %}<video>\n{% else %}{{ part.text }}"
    "{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS = (
    "<|im_start|>{% for message in messages %}{{ message.role | capitalize }}: {% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% elif part.type == 'video' %}<video>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<start_of_image>{% else %}{{ part.text }}{% endif %}{% endfor %}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def internvl() -> tuple[Any, Any]:
    """Tiles of 2 x 2 tokens (4 x 4 patches after pixel shuffle) in rows, the thumbnail last."""
    tokenizer = build_tokenizer(
        "<|im_start|>",
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = InternVLConfig(
        vision_config={**VISION, "image_size": [32, 32], "patch_size": [8, 8]},
        text_config=Qwen2Config(**text_sizes(tokenizer), tie_word_embeddings=False),
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    processor = without_videos(InternVLProcessor)(
        GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, crop_to_patches=True, max_patches=6),
        tokenizer,
        PicturesOnly(video_processor_type="InternVLVideoProcessor", size={"height": 32, "width": 32}),
        image_seq_length=4,
        chat_template=INTERNVL,
    )
    return InternVLForConditionalGeneration(config), processor


def _idefics_tokenizer() -> Any:
    markers = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    return build_tokenizer(
        *markers,
        "<|im_start|>",
        bos=None,
        eos="<end_of_utterance>",
        pad="<|endoftext|>",
        vocabulary=450,
        image_token="<image>",
        video_token="<video>",
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
    )


def _idefics_config(config_class: type, tokenizer: Any) -> Any:
    return config_class(
        vision_config={**VISION, "image_size": 24, "patch_size": 4},
        text_config=LlamaConfig(**text_sizes(tokenizer, vocab_size=len(tokenizer) + 2), tie_word_embeddings=False),
        image_token_id=tokenizer.image_token_id,
        scale_factor=2,
        tie_word_embeddings=False,
    )


TILES = {"size": {"longest_edge": 72}, "max_image_size": {"longest_edge": 24}}


def smolvlm() -> tuple[Any, Any]:
    """Up to 3 x 3 tiles of 3 x 3 tokens with row and column markers, then the whole picture once more."""
    tokenizer = _idefics_tokenizer()
    processor = without_videos(SmolVLMProcessor)(
        SmolVLMImageProcessorPil(**TILES, do_image_splitting=True),
        tokenizer,
        PicturesOnly(video_processor_type="SmolVLMVideoProcessor", num_frames=4, fps=1, **TILES),
        image_seq_len=9,
        chat_template=IDEFICS,
    )
    return SmolVLMForConditionalGeneration(_idefics_config(SmolVLMConfig, tokenizer)), processor


def idefics3() -> tuple[Any, Any]:
    """The elder sister of SmolVLM."""
    tokenizer = _idefics_tokenizer()
    image_processor = Idefics3ImageProcessorPil(**TILES, do_image_splitting=True)
    processor = Idefics3Processor(image_processor, tokenizer, image_seq_len=9, chat_template=IDEFICS)
    return Idefics3ForConditionalGeneration(_idefics_config(Idefics3Config, tokenizer)), processor


def gemma3() -> tuple[Any, Any]:
    """4 x 4 tokens to a picture that see one another both ways; sliding layers look back over 14 positions only."""
    tokenizer = build_tokenizer(
        "<start_of_turn>",
        bos="<bos>",
        eos="<end_of_turn>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    sizes = text_sizes(tokenizer, num_hidden_layers=4, vocab_size=len(tokenizer))
    config = Gemma3Config(
        vision_config={**VISION, "model_type": "siglip_vision_model", "image_size": 32, "patch_size": 4},
        text_config={
            **sizes,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 14,
            "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
        },
        mm_tokens_per_image=16,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 32, "width": 32}), tokenizer, image_seq_length=16, chat_template=GEMMA
    )
    return Gemma3ForConditionalGeneration(config), processor
