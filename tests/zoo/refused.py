"""Families whose attention over the generated text cannot be captured, each for its own reason."""

from __future__ import annotations

from typing import Any

from transformers import (
    MambaConfig,
    MambaForCausalLM,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaProcessor,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

from .llava import text_sizes
from .text import TEMPLATE
from .tokenizer import build_tokenizer

MLLAMA = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{% for part in message.content %}"
    "{% if part.type == 'image' %}<|image|>{% else %}{{ part.text }}{% endif %}{% endfor %}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def mllama() -> tuple[Any, Any]:
    """Llama 3.2 Vision: pictures enter through cross-attention, so no position of the text holds them."""
    tokenizer = build_tokenizer("<|user|>", "<|assistant|>", image_token="<|image|>")
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_global_layers": 1,
        "attention_heads": 2,
        "image_size": 28,
        "patch_size": 7,
        "vision_output_dim": 64,
        "intermediate_layers_indices": [1],
        "max_num_tiles": 2,
        "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
    }
    text = text_sizes(tokenizer, cross_attention_layers=[1])
    config = MllamaConfig(vision_config=vision, text_config=text, image_token_index=tokenizer.image_token_id)
    image_processor = MllamaImageProcessorPil(size={"height": 28, "width": 28}, max_image_tiles=2)
    return MllamaForConditionalGeneration(config), MllamaProcessor(image_processor, tokenizer, chat_template=MLLAMA)


def mamba() -> tuple[Any, Any]:
    """A state-space model: no attention at all."""
    tokenizer = build_tokenizer("<|user|>", "<|assistant|>")
    tokenizer.chat_template = TEMPLATE
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return MambaForCausalLM(MambaConfig(**sizes, **ids, tie_word_embeddings=False)), tokenizer


def t5() -> tuple[Any, Any]:
    """Encoder and decoder: the prompt is not part of the sequence that is generated."""
    tokenizer = build_tokenizer("<|user|>", "<|assistant|>")
    tokenizer.chat_template = TEMPLATE
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    return T5ForConditionalGeneration(config), tokenizer
