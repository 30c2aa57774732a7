"""The gate of SGRS, step by step (method section 3): score the candidates, draw, accept or refuse."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from lvlm_saliency.attention.backend import Capture
from lvlm_saliency.attention.rows import saliency
from lvlm_saliency.decoding.draws import fresh_seed, pick, uniform
from lvlm_saliency.decoding.steps import Step
from lvlm_saliency.tracing.one_pass import loss_gradient


class SaliencyGate:
    """One generation under SGRS; `settings` is the method, `layers` its target layers, `sample_ids` its samples."""

    def __init__(self, settings, layers: Sequence[int], sample_ids: Sequence[int]):
        self.settings = settings
        self.layers = list(layers)
        self.samples = list(sample_ids)
        self.seed = fresh_seed() if settings.seed is None else settings.seed
        self.history = [deque(maxlen=settings.window) for _ in self.samples]
        self.backwards = 0

    def capture(self) -> Capture:
        """What the next decode step has to keep: the rows of the target layers, and the graph above the lowest."""
        return Capture(frozenset(self.layers))

    def choose(self, step: int, logits: Tensor, processed: Tensor, capture: Capture | None, active: list[bool]):
        """The next token of every sample.

        Args:
            step: number of the generated token, from 0.
            logits: raw `[B, 1, V]`, in the graph of `capture` where there is one.
            processed: float32 `[B, V]` after all processors and warpers.
            capture: of the forward pass that made the logits; None at step 0, where there is no output to score.
            active: samples that are not finished; the others are neither scored nor drawn for.

        Returns:
            One `Step` per sample, None for the finished.
        """
        probabilities = torch.softmax(processed.float(), dim=-1)
        weights, candidates = probabilities.topk(min(self.settings.top_k, probabilities.shape[-1]), dim=-1)
        scores = None
        if capture is not None:
            scores = candidate_scores(logits, candidates, capture, self.layers).tolist()
            self.backwards += 1
        weights, candidates = weights.tolist(), candidates.tolist()
        return [
            self._draw(sample, step, candidates[sample], weights[sample], scores and scores[sample]) if alive else None
            for sample, alive in enumerate(active)
        ]

    def _draw(
        self, sample: int, step: int, tokens: list[int], weights: list[float], scores: list[float] | None
    ) -> Step:
        settings, history = self.settings, self.history[sample]
        possible = [i for i, weight in enumerate(weights) if weight > 0]  # a warper may leave fewer than K
        threshold = settings.alpha * sum(history) / len(history) if history and scores is not None else None
        known = dict(zip(tokens, scores or [None] * len(tokens), strict=True))
        remaining, rejected, chosen = list(possible), [], None
        while remaining and len(rejected) < settings.max_draws:
            place = 0  # candidates come sorted by probability
            if settings.order == "sample":
                u = uniform(self.seed, self.samples[sample], step, len(rejected))
                place = pick([weights[i] for i in remaining], u)
            drawn = remaining.pop(place)
            if threshold is None or scores[drawn] >= threshold:
                chosen = drawn
                break
            rejected.append(tokens[drawn])
        fallback = chosen is None
        if fallback:
            chosen = max(possible, key=lambda i: scores[i])
        score = None if scores is None else scores[chosen]
        if score is not None:
            history.append(score)
        draws = len(rejected) + (not fallback)
        kept = {tokens[i]: known[tokens[i]] for i in possible}
        return Step(tokens[chosen], score, threshold, draws, kept, rejected, fallback)


def candidate_scores(logits: Tensor, candidates: Tensor, capture: Capture, layers: Sequence[int]) -> Tensor:
    """S(c) of every candidate (Eq. 6), from one batched vector-Jacobian product over the step's graph.

    The candidates share the row; only the gradient at the logits differs, q_c - onehot(c) up to a factor that the row's
    normalisation cancels.

    Args:
        logits: raw `[B, 1, V]`; candidates: int64 `[B, K]`.

    Returns:
        float32 `[B, K]` on the CPU.
    """
    plain = logits.detach().float()[:, -1]
    seeds = torch.stack(
        [loss_gradient(plain, candidates[:, k].to(plain.device))[0] for k in range(candidates.shape[1])]
    )
    outputs = [capture.outputs[layer] for layer in layers]
    gradients = torch.func.vmap(lambda seed: torch.autograd.grad(logits, outputs, seed))(
        seeds[:, :, None].to(logits.dtype)
    )
    total = torch.zeros(candidates.shape, dtype=torch.float32)
    for layer, gradient in zip(layers, gradients, strict=True):
        rows, place = capture.rows[layer], capture.places[layer]
        block = slice(place.new - 1, place.new)  # the newest row; without a cache the older ones come along
        weights, _ = rows.probabilities(block)
        gain = rows.gain(block)
        weights = weights if gain is None else weights * gain
        row = saliency(weights, rows.weight_gradient(gradient.transpose(-2, -3)[..., block, :]))[
            ..., 0, :
        ]  # [K, B, keys]
        row = row / row.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        first, last = max(0, place.prompt_length - place.offset), place.past + place.new - place.offset
        # The mean runs over every output position, also those that a sliding window no longer sees (their rows are 0).
        count = place.past + place.new - place.prompt_length
        total += (row[..., first:last].sum(-1) / count).T.cpu()
    return total / len(layers)
