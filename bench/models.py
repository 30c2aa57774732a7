"""The models that are timed: the one that ships, and LLaVA architectures with random weights at given sizes.

The values of the weights do not matter for speed, but they decide how often SGRS refuses, so that rate is measured and
reported beside every SGRS row.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import (
    CLIPVisionConfig,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
)

PICTURE = 336


def random_llava(
    layers: int,
    width: int,
    heads: int,
    hidden: int,
    *,
    vocabulary: int = 32064,
    dtype=torch.bfloat16,
    device="cpu",
    tower: tuple[int, int] = (4, 256),
):
    """A LLaVA-1.5 of this shape: 576 image tokens from a 336-pixel picture, random weights, eval mode."""
    depth, size = tower
    vision = CLIPVisionConfig(
        hidden_size=size,
        intermediate_size=4 * size,
        num_hidden_layers=depth,
        num_attention_heads=max(1, size // 64),
        image_size=PICTURE,
        patch_size=14,
        projection_dim=size,
    )
    text = LlamaConfig(
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=vocabulary,
        max_position_embeddings=20000,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=vocabulary - 1)
    return made(LlavaForConditionalGeneration, config, dtype, device)


def random_hybrid(mixer: str, layers: int, width: int, hidden: int):
    """A hybrid of text whose every fourth layer attends, as Qwen3.5's do. The others link tokens by the `mixer`:
    "delta", the gated delta rule as in Qwen3.5, or "convolution", short ones as in LFM2. Random weights, float32."""
    kinds = [
        "full_attention" if layer % 4 == 3 else {"delta": "linear_attention", "convolution": "conv"}[mixer]
        for layer in range(layers)
    ]
    shared = {
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "num_key_value_heads": max(1, width // 256),
        "vocab_size": 32064,
        "layer_types": kinds,
        "max_position_embeddings": 20000,
    }
    if mixer == "convolution":
        config = Lfm2Config(**shared, block_auto_adjust_ff_dim=False)
        return made(Lfm2ForCausalLM, config, torch.float32, "cpu")
    heads = {"linear_num_key_heads": width // 128, "linear_num_value_heads": width // 64}
    config = Qwen3_5TextConfig(**shared, **heads, head_dim=64, linear_key_head_dim=64, linear_value_head_dim=64)
    return made(Qwen3_5ForCausalLM, config, torch.float32, "cpu")


def made(kind: type, config, dtype: torch.dtype, device: str):
    """A model of that class with random weights, drawn where it will run, ready to be timed."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return ready(kind(config))
    finally:
        torch.set_default_dtype(before)


def ready(model):
    """Eval mode, frozen, and generation settings that never end a text early."""
    model.eval().requires_grad_(False)
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None
    return model


def prompt(model, text_tokens: int = 24, seed: int = 0) -> dict:
    """One picture and `text_tokens` tokens around it, without a tokenizer."""
    random = np.random.default_rng(seed)
    config = model.config
    side = config.vision_config.image_size // config.vision_config.patch_size
    words = random.integers(5, config.text_config.vocab_size - 10, text_tokens)
    ids = np.concatenate([words[:4], np.full(side * side, config.image_token_id), words[4:]])
    pixels = torch.from_numpy(
        random.standard_normal((1, 3, config.vision_config.image_size, config.vision_config.image_size))
    )
    ids = torch.from_numpy(ids)[None].to(model.device)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": pixels.to(model.device, model.dtype),
    }


def text_prompt(model, tokens: int, seed: int = 0) -> dict:
    """`tokens` tokens for a model without pictures."""
    ids = torch.from_numpy(np.random.default_rng(seed).integers(5, model.config.vocab_size - 10, (1, tokens)))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def size(model) -> tuple[int, int]:
    """Parameters of the language model, and their bytes."""
    parts = [*model.get_decoder().parameters(), *model.lm_head.parameters()]
    return sum(p.numel() for p in parts), sum(p.numel() * p.element_size() for p in parts)
