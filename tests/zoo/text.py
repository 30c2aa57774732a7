"""Language models without pictures: plain, sliding-window, soft-capped and hybrid."""

from __future__ import annotations

from typing import Any

from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from .llava import text_sizes
from .tokenizer import build_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def _tokenizer() -> Any:
    tokenizer = build_tokenizer("<|user|>", "<|assistant|>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def llama() -> tuple[Any, Any]:
    """Grouped-query attention, nothing else."""
    tokenizer = _tokenizer()
    return LlamaForCausalLM(LlamaConfig(**text_sizes(tokenizer))), tokenizer


def mistral() -> tuple[Any, Any]:
    """Every layer looks back over 12 tokens only, fewer than any prompt of the zoo has."""
    tokenizer = _tokenizer()
    return MistralForCausalLM(MistralConfig(**text_sizes(tokenizer), head_dim=16, sliding_window=12)), tokenizer


def gemma2() -> tuple[Any, Any]:
    """Soft-capped scores and logits; sliding and full layers alternate."""
    tokenizer = _tokenizer()
    sizes = text_sizes(tokenizer, num_hidden_layers=4)
    config = Gemma2Config(**sizes, head_dim=16, query_pre_attn_scalar=16, sliding_window=12, attn_logit_softcapping=3.0)
    return Gemma2ForCausalLM(config), tokenizer
