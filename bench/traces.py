"""The rows of the table that time `trace`. Each takes a model and a prompt, and returns `Row`s."""

from __future__ import annotations

import contextlib
import functools
import statistics

import torch

import lvlm_saliency as ls
from lvlm_saliency import hf

from .cases import ours, plain
from .timing import paired, row, seconds_of


def trace_against_definition(model, inputs, tokens: int, sampled: int | None, pairs: int):
    """`trace` of an answer against one full forward and backward per token: transformers' eager attention, its weights
    in the graph, everything before the token in one pass. `sampled` tokens stand for all where all would take hours.

    Two baselines: as the released scripts run (`model.requires_grad_(True)` and `loss.backward()`, so that a gradient
    of every weight is made too), and a kinder one of ours that asks for the gradients of the attention alone."""
    out = plain(model, inputs, tokens, do_sample=False)
    n0 = inputs["input_ids"].shape[1]
    chosen = range(tokens) if sampled is None else [int((i + 0.5) * tokens / sampled) for i in range(sampled)]
    found = []
    for released in (True, False):
        rows: dict[int, torch.Tensor] = {}
        traced = {}

        def one_by_one(released=released, rows=rows):
            with _eager(model, released):
                for t in chosen:
                    rows[t] = _row_of(model, inputs, out[:, : n0 + t + 1], released)

        def one_pass(traced=traced):
            traced["trace"] = ls.trace(model, inputs, out)

        ratios, own = paired(one_by_one, one_pass, pairs)
        share = tokens / len(chosen)
        trace = traced["trace"]
        text = [t for t in chosen if bool(trace.valid[0, t])]  # behind the end of a forced answer there are no rows
        found.append(
            row(
                f"trace, {tokens} tokens after {n0}",
                f"one full pass per token, {'as released' if released else 'no gradient of weights'}",
                "at least 150 times faster" if released else "-",
                [r / share for r in ratios],
                own,
                1 / 150 if released else None,
                times_faster=statistics.median(share / r for r in ratios),
                largest_row_difference=max(
                    float((trace.rows[0, :, t, : n0 + t] - rows[t].cpu()).abs().max()) for t in text
                ),
                tokens_timed=len(chosen),
            )
        )
    return found


@contextlib.contextmanager
def _eager(model, weights: bool):
    """Eager attention, and gradients of all weights or of none."""
    configs = {id(c): c for c in (model.get_decoder().config, hf.text_config(model))}.values()
    own = [c._attn_implementation for c in configs]
    for config in configs:
        config._attn_implementation_internal = "eager"
    model.requires_grad_(weights)
    embeddings = model.get_input_embeddings()
    handle = embeddings.register_forward_hook(lambda _m, _i, o: o if weights else o.detach().requires_grad_())
    try:
        yield
    finally:
        handle.remove()
        model.requires_grad_(False)
        model.zero_grad(set_to_none=True)
        for config, name in zip(configs, own, strict=True):
            config._attn_implementation_internal = name


def _row_of(model, inputs, sequence, released: bool) -> torch.Tensor:
    """The last token's rows `[layers, n - 1]` by the definition."""
    result = model(
        input_ids=sequence[:, :-1],
        pixel_values=inputs["pixel_values"],
        output_attentions=True,
        use_cache=False,
        logits_to_keep=1,
    )
    loss = -torch.log_softmax(result.logits[0, -1].double(), -1)[sequence[0, -1]]
    if released:
        model.zero_grad(set_to_none=True)
        for weights in result.attentions:
            weights.retain_grad()
        loss.backward()
        grads = [weights.grad for weights in result.attentions]
    else:
        grads = torch.autograd.grad(loss, result.attentions)
    rows = [(a.detach() * g).abs().float().sum(1)[0, -1] for a, g in zip(result.attentions, grads, strict=True)]
    return torch.stack([r / r.norm() for r in rows])


def trace_after_generation(model, inputs, tokens: int, pairs: int, limit: float):
    """`trace` of an answer that `ls.generate` has just written, over its cache, as a share of that generation."""
    kept = {}

    def write():
        kept["out"] = ours(model, inputs, [], tokens, do_sample=False)

    ratios, own = paired(write, lambda: ls.trace(model, inputs, kept["out"]), pairs)
    return [row("trace of a fresh answer", "its greedy generation", f"at most {limit:.0%} on top", ratios, own, limit)]


def trace_over_context(model, lengths, tokens: int, repeats: int):
    """Seconds of a fixed number of traced rows alone (the prompt left out), by context length."""
    seconds = {}
    for length in lengths:
        ids = torch.randint(
            5, 1000, (1, length), device=model.device, generator=torch.Generator(model.device).manual_seed(0)
        )
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        out = ours(model, inputs, [], tokens, do_sample=False)
        ls.trace(model, inputs, out)
        again = functools.partial(ls.trace, model, inputs, out)
        seconds[length] = statistics.median(seconds_of(again) for _ in range(repeats))
    first, last = lengths[0], lengths[-1]
    grown = seconds[last] / seconds[first]
    limit = last / first
    return [
        row(
            f"trace of {tokens} tokens, {first} to {last} context",
            "time linear in the context",
            f"at most {limit:g} times",
            [grown],
            [seconds[last]],
            limit,
            seconds_by_context={str(k): v for k, v in seconds.items()},
        )
    ]
