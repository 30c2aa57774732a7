"""Tiny models with random weights of every decoder-only language model that transformers can make from a configuration.

`KNOBS` are small values for whatever of these fields a configuration has; `MORE` says what one type needs besides them.
"""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 120
KNOBS = {
    # what a token is
    "vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8, "unpadded_vocab_size": VOCABULARY,
    # how large it is, by the names that families give it
    "hidden_size": 64, "n_embd": 64, "d_model": 64, "dim_model": 64, "word_embed_proj_dim": 64,
    "num_hidden_layers": 4, "n_layer": 4, "n_layers": 4, "num_layers": 4,
    "max_position_embeddings": 256, "n_positions": 256, "n_ctx": 256, "max_seq_len": 256,
    "intermediate_size": 96, "ffn_dim": 96, "n_inner": 96, "dff": 96, "dim_ff": 96, "ffn_hidden_size": 96,
    # attention
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "global_head_dim": 16, "dim_head": 16, "kv_channels": 16, "rotary_dim": 8, "sliding_window": 512,
    "sliding_window_size": 512, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 16,
    # latents, and an indexer that chooses keys
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "qk_head_dim": 16,
    "v_head_dim": 12, "index_n_heads": 16, "index_head_dim": 16, "index_topk": 6,
    # experts
    "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "n_routed_experts": 4, "n_group": 1,
    "topk_group": 1, "n_shared_experts": 1, "moe_intermediate_size": 32, "first_k_dense_replace": 2,
    "shared_expert_intermediate_size": 32, "shared_intermediate_size": 64, "moe_num_experts": 4, "moe_k": 2,
    "moe_topk": 2, "expert_ffn_hidden_size": 32, "zero_expert_num": 2, "moe_shared_expert_intermediate_size": 32,
    # state spaces, linear attention, convolutions
    "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 16, "mamba_chunk_size": 8,
    "mamba_dt_rank": 8, "use_mamba_kernels": False, "mamba_head_dim": 16, "mamba_num_heads": 8, "ssm_state_size": 16,
    "n_mamba_heads": 2, "n_groups": 1, "chunk_size": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_head_dim": 16, "linear_num_heads": 4,
    "lru_width": 64, "state_size": 16, "num_heads": 4, "d_rel": 8, "rel_extent": 64,
}  # fmt: skip

_SLIDING_FULL = ["sliding_attention", "full_attention"]
_SHARED = {"num_hidden_layers": 6, "layer_types": _SLIDING_FULL * 3, "num_kv_shared_layers": 2}
_MLA = {"num_key_value_heads": 4}
MORE: dict[str, dict] = {
    "axk1": {**_MLA, "head_dim": 8}, "axk2": _MLA,
    "bailing_hybrid": {"num_key_value_heads": 4, "layer_types": ["linear_attention", "full_attention"] * 2},
    "bamba": {"attn_layer_indices": [1, 3]},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "cpmant": {"prompt_length": 4, "prompt_types": 4, "segment_types": 4},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {**_MLA, "q_lora_rank": None},
    "deepseek_v3": {**_MLA, "head_dim": 8}, "deepseek_v32": _MLA, "diffllama": {"num_key_value_heads": 4},
    "deepseek_v4": {
        "num_key_value_heads": 1, "o_groups": 2, "o_lora_rank": 16, "head_dim": 16, "sliding_window": 64,
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
        "layer_types": ["heavily_compressed_attention", "compressed_sparse_attention"] * 2,
    },
    "dots3_note_text": {**_MLA, "head_dim": 16, "index_n_heads": 16, "shared_experts_intermediate_size": 32,
                        "swa_num_attention_heads": 4, "swa_num_key_value_heads": 4, "swa_head_dim": 16,
                        "swa_qk_nope_head_dim": 8, "swa_v_head_dim": 12, "swa_q_lora_rank": 16, "swa_kv_lora_rank": 16},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4},
    "gemma3n_text": {**_SHARED, "laurel_rank": 8, "activation_sparsity_pattern": [0.0] * 6},
    "gemma4_text": _SHARED, "gemma4_unified_text": {"num_hidden_layers": 4, "layer_types": _SLIDING_FULL * 2},
    "gemma4_assistant": None, "gemma4_unified_assistant": None,  # they draft from another model's cache
    "glm4_moe_lite": {**_MLA, "head_dim": 8}, "glm_moe_dsa": _MLA,
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 64},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2}, "hy_v4": _MLA,
    "inkling_text": {"layer_types": ["hybrid_sliding", "hybrid"] * 2, "d_rel": 8, "rel_extent": 64},
    "inkling2_text": {"layer_types": ["hybrid_sliding", "hybrid"] * 2, "n_layers_per_attn_res_block": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "mamba_d_state": 8},
    "kimi_linear": {**_MLA, "layer_types": ["linear_attention", "full_attention"] * 2},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 2},
    "longcat_flash": {**_MLA, "num_layers": 2, "head_dim": 8},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "minicpm3": _MLA, "mistral_large4": _MLA,
    "nemotron_h": {"layers_block_type": ["mamba", "attention", "mlp", "attention"], "time_step_min": 1e-12},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "qwen3_5_moe_text": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "qwen4_exp_text": {
        "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 16, "indexer_budget": 8,
        "indexer_compress_ratio": 2, "ple_embed_dim": 16, "ngram_vocab_size_base": 101, "split_ngram_parts": 1,
        "heads_per_ngram": 2, "make_ngram_vocab_size_divisible_by": 1, "hc_lowrank": 8, "hc_count": 2,
        "layer_types": ["linear_attention", "full_attention"] * 2,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "youtu": {**_MLA, "head_dim": 8},
    "zamba": {"layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "num_key_value_heads": 4},
    "zamba2": {"layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "num_key_value_heads": 4,
               "mamba_ngroups": 1, "n_mamba_heads": 8, "mamba_d_state": 16, "time_step_min": 1e-12},
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16, "layer_types": ["hybrid"] * 4},
}  # fmt: skip

# Encoders that transformers can also run as decoders, models that are whole pictures-and-text models with a text part
# in this list, and models that read sound: none is a language model that somebody would trace by this name.
NOT_DECODERS = frozenset(
    """
    bart bert bert-generation big_bird bigbird_pegasus blenderbot blenderbot-small blt camembert data2vec-text electra
    ernie git marian mbart megatron-bert moshi musicgen musicgen_melody mvp pegasus plbart prophetnet reformer rembert
    roberta roberta-prelayernorm roc_bert roformer trocr whisper xlm xlm-roberta xlm-roberta-xl xlnet xmod
    dots3_note emu3 fuyu gemma3 gemma3n gemma4 gemma4_unified got_ocr2 llama4 mllama moss_transcribe_diarize
    phi4_multimodal qwen3_5 qwen3_5_moe qwen4_exp gemma4_assistant gemma4_unified_assistant
    """.split()  # noqa: SIM905
)
NAMES = sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - NOT_DECODERS)


def configuration(name: str, **knobs):
    """A small configuration of this type of model; `knobs` go over the table's own values."""
    kind = CONFIG_MAPPING[name]
    default = kind()
    fields = {*default.to_dict(), *getattr(kind, "attribute_map", {}), "pad_token_id", "bos_token_id", "eos_token_id"}
    known = {field: value for field, value in KNOBS.items() if field in fields}
    return kind(**{**known, **MORE.get(name, {}), **knobs})


def build(name: str, seed: int = 0, **knobs):
    """A model of this type in float32 and eval mode, its weights drawn large enough for attention to differ from token
    to token. Two models of one name, seed and knobs are equal."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(configuration(name, **knobs)).eval().float()
    with torch.no_grad():
        for place, weight in model.named_parameters():
            if weight.dim() > 1:
                size = 1.0 if "embed" in place else 0.35
                weight.copy_(torch.randn_like(weight) * size * (64 / max(64, weight.shape[-1])) ** 0.5)
    for token, value in (("pad_token_id", 0), ("bos_token_id", 1), ("eos_token_id", 2)):
        setattr(model.generation_config, token, value)
    return model
