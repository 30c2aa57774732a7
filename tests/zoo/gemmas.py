"""Gemma 3n and Gemma 4 in miniature: shared keys, inputs of each layer's own, pictures that see both ways."""

from __future__ import annotations

from typing import Any

import torch
import transformers as t
from torch import nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from lvlm_saliency.model.processors import without_videos

from .small import SLIDING_FULL, chat, chat_tokenizer, language, no_videos

_PLAIN = {"layer_types": SLIDING_FULL * 2, "sliding_window": 14, "num_kv_shared_layers": 0}
SHARED = {"num_hidden_layers": 6, "layer_types": SLIDING_FULL * 3, "num_kv_shared_layers": 2, "sliding_window": 14}


class PatchTower(t.PreTrainedModel):
    """Stands for Gemma 3n's tower, which is timm's: every patch by itself, in one linear layer."""

    config_class = t.Gemma3nVisionConfig
    main_input_name = "pixel_values"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.patches = nn.Conv2d(3, config.hidden_size, 8, stride=8)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=self.patches(pixel_values))


def _tokenizer() -> Any:
    # Gemma 3n's pictures and sounds have ids behind those of the text, which per-layer inputs do not reach.
    return chat_tokenizer(
        bos="<bos>",
        boi_token="<start_of_image>",
        image_token="<image_soft_token>",
        eoi_token="<end_of_image>",
        boa_token="<start_of_audio>",
        audio_token="<audio_soft_token>",
        eoa_token="<end_of_audio>",
        video_token="<|video|>",
    )


def gemma3n() -> tuple[Any, Any]:
    """The last two layers use the keys of earlier ones; four residual streams; an input of its own for each layer."""
    t.AutoModel.register(t.Gemma3nVisionConfig, PatchTower, exist_ok=True)
    tokenizer = _tokenizer()
    config = t.Gemma3nConfig(
        text_config=language(
            "gemma3n_text", tokenizer, **SHARED, laurel_rank=8, activation_sparsity_pattern=[0.0] * 6, head_dim=16,
            vocab_size_per_layer_input=len(tokenizer) - 8, hidden_size_per_layer_input=8,
        ),
        vision_config={"hidden_size": 32, "vocab_size": 8, "vocab_offset": len(tokenizer)},
        audio_config={
            "vocab_size": 8, "vocab_offset": len(tokenizer) + 8, "hidden_size": 16, "conf_num_hidden_layers": 1,
            "conf_num_attention_heads": 2, "sscp_conv_channel_size": [4, 4],
        },
        vision_soft_tokens_per_image=16,
        audio_soft_tokens_per_image=4,
        **{f"{name}_token_id": tokenizer.convert_tokens_to_ids(getattr(tokenizer, f"{name}_token"))
           for name in ("boi", "eoi", "image", "boa", "eoa", "audio")},
    )  # fmt: skip
    processor = t.Gemma3nProcessor(
        t.Gemma3nAudioFeatureExtractor(),
        SiglipImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer,
        image_seq_length=16,
        audio_seq_length=4,
        chat_template=chat("<image_soft_token>", "{{ bos_token }}"),
    )
    return t.Gemma3nForConditionalGeneration(config), processor


def _gemma4(text: dict, kind: str = "Gemma4", vision: dict | None = None) -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(getattr(tokenizer, f"{name}_token"))
           for name in ("boi", "eoi", "image", "video", "boa", "audio")}  # fmt: skip
    tower = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 16, "patch_size": 4, "pooling_kernel_size": 2,
        "position_embedding_size": 64,
    }  # fmt: skip
    config = getattr(t, kind + "Config")(
        text_config=language(f"{'gemma4' if kind == 'Gemma4' else 'gemma4_unified'}_text", tokenizer, **text),
        vision_config=tower if vision is None else vision,
        audio_config=None,
        **ids,
    )
    images = Gemma4ImageProcessorPil if kind == "Gemma4" else t.Gemma4UnifiedImageProcessor
    # 70 tokens a picture is the least that the processor knows; the tests' pictures are to have fewer
    processor = without_videos(getattr(t, kind + "Processor"))(
        feature_extractor=t.Gemma4AudioFeatureExtractor(),
        image_processor=images(patch_size=4, pooling_kernel_size=2, max_soft_tokens=70),
        tokenizer=tokenizer,
        video_processor=no_videos(kind + "VideoProcessor", patch_size=4, pooling_kernel_size=2, max_soft_tokens=70),
        image_seq_length=70,
        chat_template=chat("<image_soft_token>", "{{ bos_token }}", "<|video|>"),
    )
    return getattr(t, kind + "ForConditionalGeneration")(config), processor


def gemma4() -> tuple[Any, Any]:
    """The small ones (E2B, E4B): shared keys, an input of its own for each layer, full layers with wider heads."""
    return _gemma4({**SHARED, "vocab_size_per_layer_input": 512, "hidden_size_per_layer_input": 8,
                    "global_head_dim": 32, "final_logit_softcapping": 30.0})  # fmt: skip


def gemma4_large() -> tuple[Any, Any]:
    """The large ones (26B, 31B): pictures see both ways on sliding layers, full ones take keys for values; experts."""
    return _gemma4(
        {
            **_PLAIN,
            "use_bidirectional_attention": "vision",
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 1,
            "hidden_size_per_layer_input": 0,
            "enable_moe_block": True,
            "num_experts": 4,
            "top_k_experts": 2,
            "moe_intermediate_size": 32,
        }
    )


def gemma4_unified() -> tuple[Any, Any]:
    """Gemma 4 12B: raw patches are projected, there is no vision tower."""
    vision = {"patch_size": 4, "pooling_kernel_size": 2, "mm_embed_dim": 64, "mm_posemb_size": 64,
              "output_proj_dims": 64}  # fmt: skip
    return _gemma4(_PLAIN, "Gemma4Unified", vision)
