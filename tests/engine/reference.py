"""The definition, written a second time and without the package: transformers' own eager attention and autograd.

For every generated token: one full forward of everything before it, one full backward of its loss, |A * dL/dA| summed
over heads, the query row taken and brought to unit length. Slow, plain, independent.
"""

from __future__ import annotations

import contextlib

import torch


@contextlib.contextmanager
def eager(model):
    """The language model on transformers' eager attention (which returns its weights inside the graph)."""
    decoder = model.get_decoder()
    configs = {id(c): c for c in (decoder.config, model.config.get_text_config(decoder=True))}.values()
    before = [c._attn_implementation for c in configs]
    for config in configs:
        config._attn_implementation_internal = "eager"
    try:
        yield
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation_internal = name


def rows_of(model, inputs, sequence, layers):
    """Rows and attention `[len(layers), T, N - 1]` of one unpadded sample; `inputs` holds that sample alone, and
    `layers` are the numbers of all layers that have attention.

    The parameters must require grad (the eager weights are then part of the graph).
    """
    n0 = inputs["input_ids"].shape[1]
    count, width = sequence.shape[1] - n0, sequence.shape[1] - 1
    rows = torch.zeros(len(layers), count, width)
    attention = torch.zeros_like(rows)
    with eager(model), torch.enable_grad():
        for t in range(count):
            length = n0 + t
            extra = {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")}
            for name in ("token_type_ids", "mm_token_type_ids"):
                if name in extra:
                    extra[name] = torch.nn.functional.pad(extra[name], (0, t))
            out = model(
                input_ids=sequence[:, :length],
                attention_mask=torch.ones_like(sequence[:, :length]),
                output_attentions=True,
                use_cache=False,
                **extra,
            )
            loss = -torch.log_softmax(out.logits[0, -1].float(), -1)[sequence[0, length]]
            weights = [a for a in out.attentions if a is not None]
            assert len(weights) == len(layers)
            grads = torch.autograd.grad(loss, weights)
            for axis in range(len(layers)):
                row = (weights[axis] * grads[axis]).abs().sum(1)[0, -1]
                rows[axis, t, :length] = (row / row.norm()).detach()
                attention[axis, t, :length] = weights[axis].mean(1)[0, -1].detach()
    return rows, attention
