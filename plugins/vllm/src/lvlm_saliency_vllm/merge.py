"""LocoRE as an exact merge of two ordinary attentions by their log-sum-exps, on paged keys and values. torch alone.

With o and L the ordinary attention output and log-sum-exp of a row over all its keys, and o_w and L_w those over the
window's keys alone, weights gamma A, renormalised, give

    o' = (exp(L) o + beta exp(L_w) o_w) / (exp(L) + beta exp(L_w)) = o + sigmoid(L_w + log beta - L) (o_w - o),

so any attention kernel that returns its log-sum-exp can do LocoRE at the price of attention over `window` keys.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def window_attention(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    blocks: Tensor,
    position: Tensor,
    prompt: Tensor,
    window: Tensor,
    widest: int,
    scale: float,
    softcap: float = 0.0,
    sliding: int = 0,
) -> tuple[Tensor, Tensor]:
    """Attention of each row over the generated keys of its window alone.

    Args:
        q: `[T, H, D]`, queries of T rows.
        keys, values: `[blocks, block size, G, D]` with any strides, G dividing H.
        blocks: int `[T, n]`, each row's own block table.
        position, prompt, window: int64 `[T]`: P, n0 and w of each row.
        widest: the largest window among the rows; shapes depend on it and on T alone.
        scale, softcap: of the scores; a softcap of 0 is none.
        sliding: how many keys a row of this layer sees, itself included; 0 for all before it.

    Returns:
        Output `[T, H, D]` and log-sum-exp `[T, H]` over keys j with max(n0, P - w) <= j < P, float32; zeros and -inf
        where there are none.
    """
    size, groups = keys.shape[1], keys.shape[2]
    j = position[:, None] - torch.arange(widest, 0, -1, device=q.device)  # [T, W]
    inside = (j >= prompt[:, None]) & (j >= (position - window)[:, None])
    if sliding > 0:
        inside &= j > (position - sliding)[:, None]
    j = torch.where(inside, j, position[:, None])  # a key that surely exists; its weight will be 0
    page = blocks.gather(1, j // size).long()
    k, v = keys[page, j % size].float(), values[page, j % size].float()  # [T, W, G, D]
    t, heads, dim = q.shape
    scores = torch.einsum("tghd,twgd->tghw", q.float().view(t, groups, heads // groups, dim), k) * scale
    scores = capped(scores, softcap).masked_fill(~inside[:, None, None, :], float("-inf"))
    lse = torch.logsumexp(scores, -1)
    weights = torch.exp(scores - lse[..., None]).nan_to_num(0.0)
    return torch.einsum("tghw,twgd->tghd", weights, v).reshape(t, heads, dim), lse.reshape(t, heads)


def strengthened(
    o: Tensor, lse: Tensor, o_window: Tensor, lse_window: Tensor, beta: Tensor, renormalised: Tensor
) -> Tensor:
    """The rows' output under gamma A, from the two attentions.

    Args:
        o, o_window: float32 `[T, H, D]`; lse, lse_window: float32 `[T, H]`.
        beta: float32 `[T]`.
        renormalised: bool `[T]`; where False the weights are gamma A as they stand ("unnormalised").

    Returns:
        float32 `[T, H, D]`, bit-equal to `o` where beta is 0 or the window empty.
    """
    gain = lse_window + torch.log(beta)[:, None] - lse
    share = torch.where(renormalised[:, None], torch.sigmoid(gain), torch.exp(gain))[..., None]
    change = torch.where(renormalised[:, None, None], o_window - o, o_window)
    return torch.where(share > 0, o + share * change, o)


def scores_of(
    q: Tensor,
    keys: Tensor,
    blocks: Tensor,
    position: Tensor,
    length: int,
    scale: float,
    softcap: float = 0.0,
    sliding: int = 0,
) -> Tensor:
    """Scores of each row over its whole context, float32 `[T, H, K]`, -inf where a key is hidden.

    Args:
        q: `[T, H, D]`; keys: `[blocks, block size, G, D]`; position: int64 `[T]`.
        blocks: int `[n]`, the block table that all rows share, or `[T, n]`, one each.
        length: K, keys from the beginning; at least the largest position + 1.
    """
    size, groups = keys.shape[1], keys.shape[2]
    t, heads, dim = q.shape
    pages = blocks[..., : (length + size - 1) // size].long()
    k = keys[pages].flatten(-4, -3)[..., :length, :, :].float()  # [K, G, D] or [T, K, G, D]
    grouped = q.float().view(t, groups, heads // groups, dim)
    equation = "tghd,kgd->tghk" if blocks.dim() == 1 else "tghd,tkgd->tghk"
    scores = capped(torch.einsum(equation, grouped, k) * scale, softcap).reshape(t, heads, length)
    j = torch.arange(length, device=q.device)
    seen = j <= position[:, None]
    if sliding > 0:
        seen &= j > (position - sliding)[:, None]
    return scores.masked_fill(~seen[:, None], float("-inf"))


def capped(scores: Tensor, softcap: float) -> Tensor:
    """softcap * tanh(scores / softcap), or the scores where there is no cap."""
    return softcap * torch.tanh(scores / softcap) if softcap else scores


def log_sum(scores: Tensor, sinks: Tensor | None = None) -> Tensor:
    """Log-sum-exp of scores `[T, H, K]` over their keys, `[T, H]`; a sink `[H]` takes weight and has no value."""
    total = torch.logsumexp(scores, -1)
    return total if sinks is None else torch.logaddexp(total, sinks.float())


def in_window(position: Tensor, prompt: Tensor, window: Tensor, length: int) -> Tensor:
    """Which of the first `length` keys stand in each row's window, bool `[T, length]`."""
    j = torch.arange(length, device=position.device)
    return (j >= prompt[:, None]) & (j < position[:, None]) & (j >= (position - window)[:, None])


def edited_weights(scores: Tensor, window: Tensor, beta: float, space: str, sinks: Tensor | None = None) -> Tensor:
    """The attention weights A' of whole rows under LocoRE, by definition: what the merge must equal.

    Args:
        scores: float32 `[T, H, K]`; window: bool `[T, K]`; beta: 0 for plain attention.

    Returns:
        float32 `[T, H, K]`; rows sum to 1 (less what a sink takes), to more where the space is "unnormalised".
    """
    if beta and space == "logit":
        # A hidden key stays hidden whatever it is multiplied by; -inf times a gain of 1 or more is -inf.
        scores = scores * (1 + beta * window[:, None])
        return torch.exp(scores - log_sum(scores, sinks)[..., None])
    if beta and space == "probability":
        scores = scores + math.log1p(beta) * window[:, None]
        return torch.exp(scores - log_sum(scores, sinks)[..., None])
    weights = torch.exp(scores - log_sum(scores, sinks)[..., None])
    return weights * (1 + beta * window[:, None]) if beta else weights


def values_of(weights: Tensor, values: Tensor, blocks: Tensor) -> Tensor:
    """Weights `[T, H, K]` times the values of one request's pages `[blocks, block size, G, D]`: `[T, H, D]`."""
    size, groups = values.shape[1], values.shape[2]
    t, heads, length = weights.shape
    pages = blocks[: (length + size - 1) // size].long()
    v = values[pages].flatten(0, 1)[:length].float()  # [K, G, D]
    return torch.einsum("tghk,kgd->tghd", weights.view(t, groups, heads // groups, length), v).reshape(t, heads, -1)
