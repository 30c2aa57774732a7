"""Looking at what the vision side does, one picture patch at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

TOWERS = ("vision_tower", "visual", "vision_model")


def see_patches_alone(model: nn.Module) -> nn.Module:
    """Silence the vision tower's attention, so that a token's features come from its own patches only."""
    for name, module in model.named_modules():
        inside = (any(tower in name for tower in TOWERS) and "attn" in name) or "attention" in name
        if inside and isinstance(module, nn.Linear) and "proj" in name.rsplit(".", 1)[-1]:
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def decoder_input(model: Any, inputs: Any) -> Tensor:
    """The embeddings `[batch, n0, hidden]` that enter the language model, picture features filled in."""
    seen = []
    hook = model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"].clone()), with_kwargs=True
    )
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        hook.remove()
    return seen[0]
