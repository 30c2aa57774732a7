"""Small sizes and prompts that the families of `MORE` share."""

from __future__ import annotations

from typing import Any

from lvlm_saliency.model.processors import PicturesOnly

from .decoders import configuration
from .tokenizer import build_tokenizer

MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
SLIDING_FULL = ["sliding_attention", "full_attention"]
VIT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
"""Sizes of a vision tower under the usual names."""
TOWER = {"depth": 2, "hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 48, "num_heads": 2, "patch_size": 8}
"""The same under the names of Qwen-VL and GLM-V."""
PATCH = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
SIZE = {"shortest_edge": 4 * 16**2, "longest_edge": 20 * 16**2}  # 4 to 20 tokens
FILM = {**PATCH, "size": {"shortest_edge": 4 * 16**2, "longest_edge": 32 * 16**2}}  # of all frames together


def chat(picture: str, start: str = "", video: str = "") -> str:
    """A chat template that writes `picture` where a picture stands, `video` where a video does, and `start` before
    everything."""
    film = "{% elif part.type == 'video' %}" + video if video else ""
    return (
        start + "{% for message in messages %}<|im_start|>{{ message.role }}\n"
        "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
        "{% if part.type == 'image' %}"
        + picture
        + film
        + "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def chat_tokenizer(*special: str, bos: str | None = None, **named: Any) -> Any:
    """A tokenizer for `chat`, with these tokens besides."""
    return build_tokenizer("<|im_start|>", *special, bos=bos, eos="<|im_end|>", pad="<|endoftext|>", **named)


def language(name: str, tokenizer: Any, **more: Any) -> dict[str, Any]:
    """A small language model of this type, as the `text_config` of a whole model; the text ids are the tokenizer's."""
    ids = {part: getattr(tokenizer, part) for part in ("bos_token_id", "eos_token_id", "pad_token_id")}
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 2048, "num_hidden_layers": 4, **ids, **more}
    return configuration(name, **sizes).to_dict()


def no_videos(kind: str, **settings: Any) -> PicturesOnly:
    """What stands in a processor for its video processor."""
    return PicturesOnly(video_processor_type=kind, **settings)
