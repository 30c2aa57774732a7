"""The logit lens on hidden states, reduced immediately to what detectors read: chosen words, top tokens, entropies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lvlm_saliency.detection.reading import LensOf

if TYPE_CHECKING:
    from lvlm_saliency.decoding.hidden_states import Lens

ELEMENTS = 2**26
"""Upper bound of positions x vocabulary at once (256 MiB in float32)."""
KEPT = 50
"""The top-k warper of the released internal confidence."""


def of_some(lens: Lens, states: Tensor, ids: Tensor, factor: float = 1.0) -> LensOf:
    """The lens (no norm) of states `[P, D]` for the tokens `ids` `[K]`, logits times `factor`, in float32."""
    parts: list[list[np.ndarray]] = []
    for whole in _logits(lens, states, normalised=False):
        logits = whole * factor if factor != 1.0 else whole
        large = logits.topk(min(KEPT, logits.shape[-1]), -1).values
        found = (
            logits[:, ids.to(logits.device)],
            logits.logsumexp(-1),
            logits.argmax(-1),
            large[:, -1],
            large.logsumexp(-1),
        )
        parts.append([one.cpu().numpy() for one in found])
    return LensOf(ids.numpy(), *(np.concatenate(part) for part in zip(*parts, strict=True)))


def top_and_entropy(lens: Lens, states: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Of the lens of states `[P, D]`, none of them normed yet: the top token and the entropy in nats, `[P]` each."""
    tops, entropies = [], []
    for logits in _logits(lens, states, normalised=True):
        log_p = torch.log_softmax(logits, -1)
        tops.append(logits.argmax(-1).cpu().numpy())
        entropies.append(-(log_p.exp() * log_p.masked_fill(log_p == float("-inf"), 0)).sum(-1).cpu().numpy())
    return np.concatenate(tops), np.concatenate(entropies).astype(np.float64)


def _logits(lens: Lens, states: Tensor, normalised: bool) -> Iterator[Tensor]:
    vocabulary = lens.head.weight.shape[0]
    step = max(1, ELEMENTS // vocabulary)
    for start in range(0, len(states), step):
        yield lens(states[start : start + step], normalised=normalised)
