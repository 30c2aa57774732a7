"""The definition, written a second time and without the package: transformers' own modelling code and autograd
(the package only keeps transformers from hooking a tower twice).

For every generated token: one full eager forward of everything before it, one full backward of its loss,
|A * dL/dA| summed over heads, the query row taken and brought to unit length. Slow, plain, independent. The loss is
float64: in float32 the log-softmax of a token that the model is sure of loses its gradient. LocoRE is put into the
eager attention by its formula on the finished attention rows.
"""

from __future__ import annotations

import contextlib
import sys

import torch

from lvlm_saliency import hf
from zoo.family import in_float32


@contextlib.contextmanager
def eager(model, gain=None, prompt_length=None):
    """The language model on eager attention that returns its weights inside the graph.

    gain: (beta, window, space) of LocoRE for the generated rows, from `prompt_length` on.
    """
    decoder = model.get_decoder()
    configs = {id(c): c for c in (decoder.config, model.config.get_text_config(decoder=True))}.values()
    before = [c._attn_implementation for c in configs]
    hf.capture_once(model)  # the families' models are shared: an earlier test may have shown it pictures
    module = sys.modules[type(decoder).__module__]
    original = module.eager_attention_forward
    for config in configs:
        config._attn_implementation_internal = "eager"
    if gain is not None:
        module.eager_attention_forward = _locore(original, *gain, prompt_length)
    try:
        yield
    finally:
        module.eager_attention_forward = original
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation_internal = name


def _locore(original, beta, window, space, n0):
    def attention(module, query, key, value, mask, scaling=None, dropout=0.0, **kwargs):
        if getattr(module, "layer_idx", None) is None:  # a vision tower defined in the same file
            return original(module, query, key, value, mask, scaling=scaling, dropout=dropout, **kwargs)
        repeat = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
        score = (query @ key.transpose(-1, -2)).float() * scaling
        if kwargs.get("softcap"):
            score = torch.tanh(score / kwargs["softcap"]) * kwargs["softcap"]
        gamma = torch.ones(score.shape[-2:])
        for p in range(n0 + 1, score.shape[-2]):
            for j in range(max(n0, p - window), p):
                gamma[p, j] = 1 + beta
        if space == "logit":
            score = score * gamma
        weights = torch.softmax(score + mask.float(), -1)
        if space == "probability":
            weights = weights * gamma / (weights * gamma).sum(-1, keepdim=True)
        elif space == "unnormalised":
            weights = weights * gamma
        weights = weights.to(value.dtype)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    return attention


@contextlib.contextmanager
def softmax_in_its_own_precision():
    """Eager attention takes its softmax in float32, whatever the model's dtype; the fused one in that dtype."""
    real = torch.nn.functional.softmax

    def softmax(values, dim=None, dtype=None, **more):
        return real(values, dim=dim, dtype=values.dtype if values.dtype is torch.float64 else dtype, **more)

    torch.nn.functional.softmax = softmax
    try:
        yield
    finally:
        torch.nn.functional.softmax = real


def extended(inputs, extra):
    """Model inputs of a prompt, for the prompt and `extra` more text tokens."""
    rest = {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")}
    for name in ("token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids"):
        if name in rest:
            rest[name] = torch.nn.functional.pad(rest[name], (0, extra))
    return rest


def token_row(model, inputs, sequence, target, loss=torch.float64):
    """Rows and head-mean attention `[layers, length]` of the query that predicts `target` after `sequence`."""
    extra = extended(inputs, sequence.shape[1] - inputs["input_ids"].shape[1])
    with torch.enable_grad():
        out = model(
            input_ids=sequence,
            attention_mask=torch.ones_like(sequence),
            output_attentions=True,
            use_cache=False,
            **extra,
        )
        loss = -torch.log_softmax(out.logits[0, -1].to(loss), -1)[target]
        weights = [a for a in out.attentions if a is not None]
        grads = torch.autograd.grad(loss, weights)
    raw = torch.stack(
        [(w.double() * g.double()).abs().sum(1)[0, -1].detach() for w, g in zip(weights, grads, strict=True)]
    )
    attention = torch.stack([w.mean(1)[0, -1].detach() for w in weights])
    return (raw / raw.norm(dim=-1, keepdim=True)).float(), attention


def rows_of(model, inputs, sequence, gain=None, loss=torch.float64):
    """Rows and attention `[layers with attention, T, N - 1]` of one unpadded sample; `inputs` holds it alone.

    The parameters must require grad (the eager weights are then part of the graph).
    """
    n0 = inputs["input_ids"].shape[1]
    count, width = sequence.shape[1] - n0, sequence.shape[1] - 1
    with eager(model, gain, n0):
        found = [token_row(model, inputs, sequence[:, : n0 + t], sequence[0, n0 + t], loss) for t in range(count)]
    rows = torch.zeros(len(found[0][0]), count, width)
    attention = torch.zeros_like(rows)
    for t, (row, weights) in enumerate(found):
        rows[:, t, : n0 + t], attention[:, t, : n0 + t] = row, weights
    return rows, attention


def alone(family, n, sample, images=1, seed=0):
    """The inputs of one sample of `family.inputs(n, images, seed)` by itself: no padding, no batch mates."""
    processor = family.build()[1]
    text = [family.prompts(n, images, seed)[sample]]
    settings = {"return_tensors": "pt", "add_special_tokens": False}
    if family.text_only:
        return dict(processor(text=text, **settings))
    return dict(in_float32(processor(images=[family.pictures(n, images, seed)[sample]], text=text, **settings)))


def answer(model, inputs, tokens=7):
    return model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
