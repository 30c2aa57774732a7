"""Looking at what the vision side does, one picture patch at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lvlm_saliency import hf

TOWERS = ("vision_tower", "visual", "vision_model", "img_processor")


def see_patches_alone(model: nn.Module) -> nn.Module:
    """Silence the vision tower's attention, so that a token's features come from its own patches only."""
    for name, module in model.named_modules():
        mixes = "attn" in name or ".conv." in name
        inside = (any(tower in name for tower in TOWERS) and mixes) or "attention" in name
        if "pooling" in name and name.endswith("q_proj"):  # a sharp choice among pooled patches would leave some unseen
            inside = True
        if inside and isinstance(module, nn.Linear) and any("proj" in part for part in name.split(".")[-2:]):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def decoder_input(model: Any, inputs: Any) -> Tensor:
    """What enters the language model at each position `[batch, n0, hidden]`, picture features filled in, with those
    that enter behind later layers."""
    seen = []

    def note_decoder(module: nn.Module, args: tuple, kwargs: dict) -> None:
        for features in (kwargs.get("deepstack_features") or {}).values():
            seen.append(torch.zeros_like(kwargs["inputs_embeds"]).masked_scatter(kwargs["vision_mask"], features))

    def note_layer(module: nn.Module, args: tuple, kwargs: dict) -> None:
        states = args[0] if args else kwargs["hidden_states"]
        if states.shape[:2] != inputs["input_ids"].shape:  # Gemma 3n's streams stand in front: [streams, batch, n0, d]
            states = states.movedim(0, 2)
        seen.append(states.flatten(2).clone())  # one or several streams

    hooks = [
        model.get_decoder().register_forward_pre_hook(note_decoder, with_kwargs=True),
        hf.decoder_layers(model)[0].register_forward_pre_hook(note_layer, with_kwargs=True),
    ]
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(seen)


def prompt_embeddings(model: Any, inputs: Any) -> Tensor:
    """What enters the decoder at each position of the prompt `[batch, n0, hidden]`, picture features filled in."""
    seen: list[Tensor] = []
    hook = model.get_decoder().register_forward_pre_hook(
        lambda _m, _a, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    with torch.no_grad():
        model(**inputs)
    hook.remove()
    return seen[0]
