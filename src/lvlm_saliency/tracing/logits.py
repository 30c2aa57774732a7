"""Log-probability, entropy and loss gradient of tokens from logits.

Vocabularies are large (32,000 to 250,000), so for a short answer these numbers cost as much as a layer of the model.
They are computed in place in one buffer of the logits' size, since touching new memory costs more than the arithmetic.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvlm_saliency.errors import NumericalError

GONE = -200.0
"""A lower bound for logits: exp of it is 0 in float32, and unlike -inf it gives no NaN in products with 0."""

ALONE = -9e3
"""Below these log-odds of all other tokens against the chosen one, the others were masked (-inf, the dtype's minimum,
-1e4): no language model head gives such logits, and their probability is 0 in every precision."""


def finite_logits(logits: Tensor) -> Tensor:
    """The logits in float32, checked.

    Raises:
        NumericalError: one is NaN or +inf, or all of a row are -inf.
    """
    logits = logits.float()
    largest = logits.amax(dim=-1).flatten().tolist()  # NaN for a row with a NaN
    if not all(map(math.isfinite, largest)):
        raise NumericalError(
            "the model's logits are not finite: try dtype='float32' or 'bfloat16', and check the weights"
        )
    return logits


def loss_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """A positive multiple of d(-log p[target])/d(logits).

    The gradient is (1 - p_c) (q - onehot(c)), where q is the softmax over all other tokens. The factor (1 - p_c)
    cancels in the normalised row; without it the gradient of confident tokens does not vanish in any precision. Where
    no other token is possible (log-odds below `ALONE`: every other logit is -inf or the dtype's minimum, or the
    vocabulary is one token), the loss is constant and its gradient 0.

    Args:
        logits: float32 `[..., V]`, raw; not changed.
        targets: int64 `[...]`.

    Returns:
        q - onehot(c) or 0, float32 `[..., V]`, a new tensor.
    """
    return _others(logits, targets.unsqueeze(-1))[0]


def token_odds(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`loss_gradient` `[..., V]`; log p of the targets and the entropy of the whole distribution, both `[...]`, in
    nats."""
    gradient, others = _others(logits, targets.unsqueeze(-1))
    chosen = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    total = torch.logaddexp(chosen, others)
    log_p, log_rest = chosen - total, others - total
    # sum of q x, without the target's -1 and with 0 for what is impossible (0 * -inf).
    mean = torch.einsum("...v,...v->...", gradient, logits) + chosen
    if not bool(mean.isfinite().all()):
        possible = logits.masked_fill(logits == float("-inf"), 0)
        mean = (gradient * possible).sum(-1) + chosen.masked_fill(chosen == float("-inf"), 0)
    own = (log_p.exp() * log_p).masked_fill(log_p == float("-inf"), 0)
    rest = log_rest.exp()
    entropy = -own - (rest * (mean - total)).masked_fill(rest == 0, 0)
    return gradient, log_p, entropy


def _others(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """q - onehot(c), and the log-sum-exp over all tokens but the target, `[...]`; targets `[..., 1]`."""
    others = logits.scatter(-1, targets, float("-inf"))
    largest = others.amax(-1, keepdim=True)
    others.sub_(largest.clamp_min(torch.finfo(torch.float32).min)).clamp_min_(GONE).exp_()
    total = others.sum(-1, keepdim=True)
    size = largest + total.log()
    gradient = others.div_(total).scatter_(-1, targets, -1.0)
    alone = size - logits.gather(-1, targets) < ALONE
    if bool(alone.any()):
        gradient.masked_fill_(alone, 0)
    return gradient, size.squeeze(-1)
