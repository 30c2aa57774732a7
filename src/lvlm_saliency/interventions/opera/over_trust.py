"""OPERA's penalty: how far attention concentrates on one earlier token of the answer (arXiv 2311.17911, section 3).

A row is max over heads of one layer's attention, divided by its sum. R `[n_r, n_r]` is the part of the answer's rows
over the answer's columns, row i the query of generated token i. Column j of it scores

    phi_j = prod_{i = j .. n_r - 1} sigma * R[i, j]

A product of dozens of factors overflows or underflows, so log phi_j is kept, in float64: each token adds one term to
it, and no more is kept of the maps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lvlm_saliency.attention.state import RowContext

if TYPE_CHECKING:
    from lvlm_saliency.interventions.opera.method import OPERA

SHORT = 10
"""official_code: up to this number of answer tokens (with the candidate) attention to the image is rewarded instead."""
SHRINK = math.log(1e-7)
"""official_code: the logarithm of a factor on phi that the paper does not have."""
NO_COLUMN = -1
"""In place of a column's number: attention concentrates on none."""
LOWEST = -999.0
"""Log-probability of tokens that are not candidates. Finite, so that a search whose candidates all end can continue."""


def shares(weights: Tensor, context: RowContext, image: Tensor | None) -> tuple[Tensor, Tensor]:
    """The attention of one layer's newest row to the answer so far and to the picture.

    Args:
        weights: float32 `[R, H, 1, K]`, attention after the softmax.
        context: of the forward call.
        image: bool `[R, n0]`, or None without pictures.

    Returns:
        The row over the answer's positions, float64 `[R, n_r]`, the query itself last; and its sum over the picture
        `[R]`.
    """
    row = weights[:, :, -1].amax(dim=1).double()
    row = row / row.sum(dim=-1, keepdim=True)
    row = torch.nn.functional.pad(row, (context.offset, 0))  # keys outside a sliding window have weight 0
    answer = row[:, context.prompt_length :]
    if image is None:
        return answer, row.new_zeros(len(row))
    return answer, (row[:, : context.prompt_length] * image).sum(dim=-1)


def extended(columns: Tensor, answer: Tensor, sigma: float) -> Tensor:
    """log phi with one more row: `[R, n_r - 1]` and that row's share of the answer `[R, n_r]` -> `[R, n_r]`."""
    return torch.nn.functional.pad(columns, (0, 1)) + torch.log(sigma * answer)


def penalties(columns: Tensor, image: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """The penalty of each candidate, and the column of its largest phi.

    Args:
        columns: log phi, float64 `[..., n_r]`, with the candidate's own row.
        image: attention to the picture, float64 `[...]`.
        mode: "paper" or "official_code".

    Returns:
        The penalty float64 `[...]` and the column int64 `[...]`; `NO_COLUMN` where every product is 0, because
        attention left out some token of each column's rows (an indexer that chooses keys, or an underflow).
    """
    largest, where = columns.max(dim=-1)
    where = where.masked_fill(largest == -math.inf, NO_COLUMN)
    if mode == "paper":
        return _bounded(largest), where
    if columns.shape[-1] <= SHORT:
        return -image, where
    return _bounded(largest + SHRINK), where


def _bounded(log_phi: Tensor) -> Tensor:
    return log_phi.clamp_max(700.0).exp()  # float64 overflows at exp(709.8); a smaller penalty already decides


def candidate_ids(logits: Tensor, settings: OPERA, step: int) -> Tensor:
    """The `settings.candidates` most probable tokens of each beam, int64 `[n, m]`, best first.

    The first step has one text to continue, so it offers at least one candidate for each beam.
    """
    count = settings.candidates if step else max(settings.candidates, settings.n_beams)
    return logits.topk(min(count, logits.shape[-1]), dim=-1).indices


def candidate_log_probs(logits: Tensor, ids: Tensor, penalty: Tensor | None = None) -> Tensor:
    """Log-probabilities normalised over each beam's candidates. All other tokens rank below them, in their own order.

    Args:
        logits: float32 `[n, V]`, -inf for refused tokens.
        ids: the candidates, int64 `[n, m]`.
        penalty: subtracted from the candidates' logits, `[n, m]`.

    Returns:
        float32 `[n, V]`.
    """
    if penalty is None and ids.shape[1] == logits.shape[1]:
        return full_log_probs(logits)
    scores = logits.gather(1, ids).double()
    if penalty is not None:
        scores = scores - penalty
    scores = (scores - scores.amax(dim=-1, keepdim=True)).clamp_min(0.9 * LOWEST)
    rest = LOWEST + full_log_probs(logits)
    return rest.scatter(1, ids, torch.log_softmax(scores, dim=-1).float())


def full_log_probs(logits: Tensor) -> Tensor:
    """log softmax over the whole vocabulary, float32 `[n, V]`; refused tokens get the lowest finite value, not -inf."""
    found = torch.log_softmax(logits, dim=-1)
    return found.masked_fill(logits == float("-inf"), 2 * LOWEST)
