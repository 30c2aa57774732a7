"""Random weights with which a tiny model behaves: attention far from uniform, varied tokens, no special token chosen.

Initialisation at the usual 0.02 leaves a two-layer model with flat attention and one token repeated for ever, on
which almost any test of attention would pass.
"""

from __future__ import annotations

import torch
from torch import nn

GAINS = {  # standard deviation times sqrt(fan-in), by the ending of the parameter's name
    "q_proj.weight": 1.6,
    "k_proj.weight": 1.6,
    "o_proj.weight": 1.0,
    "down_proj.weight": 0.8,
    "lm_head.weight": 2.5,
}


def randomise(model: nn.Module, silent: list[int], seed: int = 0) -> nn.Module:
    """Draw every parameter anew, in float32 and from `seed`; the token ids in `silent` get next to no logit."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim < 2:
                # norms stay near what they were (1, or 0 where the weight is an offset); biases move a little
                parameter.add_(0.1 * noise)
                if name.endswith(("q_norm.weight", "k_norm.weight")):
                    parameter.add_(0.8)  # queries and keys of unit length would leave attention flat
            elif "embed" in name and parameter.ndim == 2:
                parameter.copy_(noise)
            else:
                fan_in = parameter[0].numel()
                gain = next((gain for ending, gain in GAINS.items() if name.endswith(ending)), 1.0)
                parameter.copy_(noise * gain / fan_in**0.5)
        head = model.get_output_embeddings()
        if head is not None:
            if head.weight is model.get_input_embeddings().weight:
                # With tied embeddings the likeliest token would be the one just read: quieten the embedding within the
                # residual stream, and let the last norm bring the logits back to size.
                head.weight.mul_(0.3 / head.weight.shape[1] ** 0.5)
                last_norm = getattr(model.get_decoder(), "norm", None)
                if last_norm is not None:
                    last_norm.weight.add_(7.0)
            head.weight[silent] *= 0.02
    return model
