"""Rows of a block through a gated delta net or a short convolution in closed form, without a loop over tokens.

Both are linear in earlier tokens: the output of a token is a sum over earlier tokens, which is constant for its row
(detached), and a term of its own, which carries its gradient. So all rows are computed at once, without a state per
row.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import ACT2FN


def short_convolution(module: Any, hidden: Tensor, layer: Any) -> Tensor:
    """LFM2's and LFM3's gated short convolution over the rows `[B, T, D]`; the state moves on by T tokens."""
    before, after, x = module.in_proj(hidden).transpose(-1, -2).chunk(3, dim=-2)
    mixed = after * _convolved(before * x, module.conv, layer)
    return module.out_proj(mixed.transpose(-1, -2).contiguous())


def gated_delta_net(module: Any, hidden: Tensor, layer: Any) -> Tensor:
    """Qwen3.5's gated delta net over the rows `[B, T, D]`; the states move on by T tokens.

    With S_t = e^(g_t) S_(t-1) + k_t d_t' and d_t = b_t (v_t - e^(g_t) k_t'S_(t-1)) (Gated Delta Networks, arXiv
    2412.06464, eq. 10), a row's output is q_t'S_t = e^(g_t) q_t'S_(t-1) + (q_t'k_t) d_t. Of these S_(t-1) is fixed, and
    x_t'S_(t-1) is a strictly causal attention of x over earlier k and d plus the decayed start state. The d themselves
    solve a triangular system.
    """
    batch, count, _ = hidden.shape
    mixed = module.in_proj_qkv(hidden).transpose(1, 2)
    mixed = ACT2FN[module.activation](_convolved(mixed, module.conv1d, layer)).transpose(1, 2)
    query, key, value = mixed.split([module.key_dim, module.key_dim, module.value_dim], dim=-1)
    query, key = (_heads(x, module.head_k_dim, module.num_v_heads) for x in (query, key))
    value = _heads(value, module.head_v_dim, module.num_v_heads)
    query, key = (x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6) for x in (query, key))
    query = query / query.shape[-1] ** 0.5
    # beta is rounded as the model rounds it; log decays are float32
    beta = module.in_proj_b(hidden).sigmoid().float().transpose(1, 2).unsqueeze(-1)
    decay = -module.A_log.float().exp() * F.softplus(module.in_proj_a(hidden).float() + module.dt_bias)
    decay = decay.transpose(1, 2).unsqueeze(-1)  # [B, H, T, 1]

    start = layer.recurrent_states[0].detach().float()  # [B, H, Dk, Dv]
    with torch.no_grad():
        total = decay.cumsum(-2)
        earlier = torch.ones(count, count, dtype=torch.bool, device=hidden.device).tril(-1)
        lag = _decayed(total, total, earlier)
        wanted = beta * (value - total.exp() * (key @ start))
        system = beta * lag * (key @ key.transpose(-1, -2))
        delta = torch.linalg.solve_triangular(system, wanted, upper=False, unitriangular=True)
        fixed, weight = key.detach(), _decayed(total - decay, total, earlier)
        since = (total - decay).exp()
        to_end = (total[..., -1:, :] - total).exp()
        end = total[..., -1:, :].exp() * start + (to_end * fixed).transpose(-1, -2) @ delta
        layer.recurrent_states[0] = end.to(layer.recurrent_states[0].dtype)

    def past(x: Tensor) -> Tensor:  # x_t'S_(t-1)
        return ((x @ fixed.transpose(-1, -2)) * weight) @ delta + since * (x @ start)

    own = beta * (value - decay.exp() * past(key))
    output = decay.exp() * past(query) + (query * key).sum(-1, keepdim=True) * own
    output = output.transpose(1, 2).to(hidden.dtype).reshape(-1, module.head_v_dim)
    gate = module.in_proj_z(hidden).reshape(-1, module.head_v_dim)
    return module.out_proj(module.norm(output, gate).reshape(batch, count, -1))


def _decayed(until: Tensor, since: Tensor, earlier: Tensor) -> Tensor:
    """What is left at row t of what row s < t has added, `[B, H, T, T]`; sums of log decays in, 0 elsewhere."""
    return (until - since.transpose(-1, -2)).masked_fill(~earlier, float("-inf")).exp()


def _heads(x: Tensor, size: int, heads: int) -> Tensor:
    """`[B, heads, T, size]` in float32; a head of fewer ones serves several."""
    x = x.unflatten(-1, (-1, size)).transpose(1, 2).float()
    return x.repeat_interleave(heads // x.shape[1], dim=1)


def _convolved(x: Tensor, conv: nn.Conv1d, layer: Any) -> Tensor:
    """The causal convolution of `x` `[B, C, T]` after the kept window; gradient flows only through each token's own
    tap."""
    window = layer.conv_states[0]
    whole = torch.cat([window.detach(), x.detach()], dim=-1).to(conv.weight.dtype)
    fixed = F.conv1d(whole, conv.weight.detach(), conv.bias, groups=conv.groups)[..., -x.shape[-1] :]
    layer.conv_states[0] = whole[..., -window.shape[-1] :].to(window.dtype)
    return (fixed + conv.weight[:, 0, -1:].detach() * (x - x.detach())).to(x.dtype)


CLOSED = {
    "Lfm2MoeShortConv": short_convolution,
    "Lfm2ShortConv": short_convolution,
    "Lfm3ShortConv": short_convolution,
    "Qwen3_5GatedDeltaNet": gated_delta_net,
    "Qwen3_5MoeGatedDeltaNet": gated_delta_net,
}
"""By the class of the part."""
