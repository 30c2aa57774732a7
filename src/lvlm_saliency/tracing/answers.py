"""The answer of a model that thinks, as a trace of its own: what was thought before counts as a part of its prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lvlm_saliency.model.regions import Regions
from lvlm_saliency.model.thinking import answers_of
from lvlm_saliency.tracing.result import SaliencyTrace


def answer_spans(trace: SaliencyTrace, sample: int) -> list[tuple[int, int]]:
    """Where a text answers, as (first token, one past the last); the whole text where it is not known to think."""
    if trace.parts is None:
        return [(0, int(trace.valid[sample].sum()))]
    return answers_of(trace.parts[sample])


def answer_mask(trace: SaliencyTrace) -> Tensor:
    """bool `[batch, T]`: the tokens of answers; every token of a text that is not known to think."""
    mask = torch.zeros_like(trace.valid)
    for sample in range(len(mask)):
        for first, end in answer_spans(trace, sample):
            mask[sample, first:end] = True
    return mask & trace.valid


def of_answer(trace: SaliencyTrace, sample: int, first: int, end: int) -> SaliencyTrace:
    """One answer as a batch of one, whose prompt ends before its token `first` (thinking and marks are of the region
    "prompt") and whose text ends before its token `end`."""
    whole = trace.sample(sample, end)
    start = whole.prompt_length + first
    regions = whole.regions
    thought = regions.output.clone()
    thought[:, start:] = False
    return replace(
        whole,
        rows=whole.rows[:, :, first:],
        attention=whole.attention[:, :, first:],
        regions=Regions(regions.system, regions.image, regions.prompt | thought, regions.output & ~thought),
        prompt_length=start,
        valid=whole.valid[:, first:],
        logprobs=whole.logprobs[:, first:],
        entropy=whole.entropy[:, first:],
        parts=None,
    )


def over_answers(trace: SaliencyTrace, read: Callable[[SaliencyTrace], Tensor]) -> Tensor:
    """What `read` says of every token, float32 `[batch, T]`, of each answer by itself; NaN in thinking and marks."""
    if trace.parts is None:
        return read(trace)
    found = torch.full(trace.valid.shape, float("nan"))
    for sample in range(len(found)):
        for first, end in answer_spans(trace, sample):
            found[sample, first:end] = read(of_answer(trace, sample, first, end))[0]
    return found
