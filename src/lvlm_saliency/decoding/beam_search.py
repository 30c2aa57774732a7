"""Plain beam search: one forward call per step for the beams of all samples."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lvlm_saliency.decoding.beams import Beams, Move
from lvlm_saliency.decoding.search import Found, Task


def plain_log_probs(logits: Tensor, step: int) -> Tensor:
    """log softmax, float32 `[R, V]`."""
    return torch.log_softmax(logits, dim=-1)


def beam_search(task: Task, log_probs: Callable[[Tensor, int], Tensor] = plain_log_probs) -> list[Found]:
    """The best texts of every sample.

    Args:
        task: the prompt and the settings of the search.
        log_probs: `(logits float32 [R, V], number of the step) -> log-probabilities [R, V]`, which the search adds up.
    """
    branch, logits = replace(task.prompt), task.logits
    beams = [Beams.start(logits.device) for _ in task.rules]
    kept = [task.kept() for _ in beams]
    rows = [1] * len(beams)
    for step in itertools.count():
        processed = task.processed(branch, log_probs(logits, step))
        parts = list(zip(processed.split(rows), logits.split(rows), strict=True))
        for one, part in zip(kept, parts, strict=True):
            one.put(step, *part)
        moves = [_moved(task, sample, beams[sample], part) for sample, (part, _) in enumerate(parts)]
        beams = [move.beams for move in moves]
        if all(one.done for one in beams):
            break
        task.drafted += sum(len(move.tokens) for move in moves if not move.beams.done)
        starts = torch.tensor([0, *rows[:-1]], device=logits.device).cumsum(0)
        parents = torch.cat([move.parents + start for move, start in zip(moves, starts, strict=True)])
        rows = [len(move.parents) for move in moves]
        if not torch.equal(parents, torch.arange(len(branch.ids), device=parents.device)):
            branch = branch.fork(parents)
        logits = branch.feed(torch.cat([move.tokens for move in moves])[:, None])
    return [Found(one.best(rules.n_beams), k) for one, rules, k in zip(beams, task.rules, kept, strict=True)]


def _moved(task: Task, sample: int, beams: Beams, log_probs: Tensor) -> Move:
    if not beams.done:
        move = beams.advanced(log_probs, task.rules[sample], task.stops(sample))
        if not move.beams.done:
            return move
        beams = move.beams
    # A finished sample keeps its rows and is fed padding until all samples of the batch have finished.
    rows = torch.arange(len(log_probs), device=log_probs.device)
    return Move(beams, rows, torch.full_like(rows, task.pad))
