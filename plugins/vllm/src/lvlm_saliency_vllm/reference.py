"""What the check on a card compares with: a small random model, and transformers with LocoRE's formula in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def random_model(folder: Path, layers: int, width: int, heads: int, groups: int, words: int) -> Any:
    """A random Llama, saved to `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        head_dim=64,
        max_position_embeddings=2048,
        initializer_range=0.8 / width**0.5,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        dtype="float16",
    )
    model = LlamaForCausalLM(config).half()
    model.save_pretrained(folder)
    return model


def prompts(count: int, length: int, words: int) -> list[list[int]]:
    """Random prompts."""
    import torch

    random = torch.Generator().manual_seed(5)
    return torch.randint(3, words, (count, length), generator=random).tolist()


def reference_gaps(model: Any, ids: list[int], answer: list[int], extra: dict[str, Any]) -> list[tuple[int, float]]:
    """The token that the float32 model chooses after each beginning of an answer, and its lead over the second, nats.

    One pass over prompt and answer, with LocoRE's formula in every row of attention; `extra` as a request gives it.
    """
    import torch
    from transformers import AttentionInterface

    from lvlm_saliency_vllm import merge
    from lvlm_saliency_vllm.settings import asked

    locore = asked(extra).locore

    def attention(module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, **_: Any) -> Any:
        share = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(share, 1) for x in (key, value))
        count = query.shape[2]
        place = torch.arange(count, device=query.device)
        hidden = place[None] > place[:, None]
        scores = (query @ key.transpose(-1, -2) * scaling).masked_fill(hidden, float("-inf"))[0]  # [H, T, T]
        beta, space = 0.0, "probability"
        window = torch.zeros_like(hidden)
        if locore is not None and locore.acts_on(module.layer_idx):
            prompt, width = (torch.full_like(place, number) for number in (len(ids), locore.window))
            beta, space, window = locore.beta, locore.space, merge.in_window(place, prompt, width, count)
        weights = merge.edited_weights(scores.transpose(0, 1), window, beta, space).transpose(0, 1)
        return (weights @ value[0]).transpose(0, 1)[None], None

    AttentionInterface.register("lvlm_saliency_reference", attention)
    model.set_attn_implementation("lvlm_saliency_reference")
    whole = torch.tensor([ids + answer[:-1]], device=model.device)
    with torch.no_grad():
        odds = torch.log_softmax(model(input_ids=whole, use_cache=False).logits[0, len(ids) - 1 :].float(), -1)
    best = odds.topk(2, dim=-1)
    leads = (best.values[:, 0] - best.values[:, 1]).tolist()
    return list(zip(best.indices[:, 0].tolist(), leads, strict=True))
