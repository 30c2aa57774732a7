"""What both backends do to the rows of one layer in plain torch: whole rows of scores, readings, the logit space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvlm_saliency_vllm import merge
from lvlm_saliency_vllm.requests import Rows


@dataclass(frozen=True)
class Layer:
    """One attention layer, and its keys and values as pages `[blocks, block size, G, D]`.

    number: of the decoder layer. sliding: how many keys a row sees, itself included; 0 or less for all. sinks: `[H]`.
    """

    number: int
    keys: Tensor
    values: Tensor
    scale: float
    softcap: float
    sliding: int
    sinks: Tensor | None

    def scores(self, q: Tensor, table: Tensor, first: int) -> Tensor:
        """Scores of consecutive rows of one request, the first at this position: float32 `[T, H, K]`."""
        position = self.positions(q, first)
        length = first + len(q)
        return merge.scores_of(q, self.keys, table, position, length, self.scale, self.softcap, self.sliding)

    @staticmethod
    def positions(q: Tensor, first: int) -> Tensor:
        """int64 `[T]`."""
        return torch.arange(first, first + len(q), device=q.device)

    def strengthen(self, one: Rows, q: Tensor, first: int, scores: Tensor, table: Tensor, out: Tensor) -> None:
        """Write LocoRE's output of these rows into `out` `[T, H, D]`, which holds their ordinary attention."""
        locore, position = one.asked.locore, self.positions(q, first)
        prompt, width = (torch.full_like(position, number) for number in (one.prompt, locore.window))
        if locore.space == "logit":
            window = merge.in_window(position, prompt, width, scores.shape[-1])
            weights = merge.edited_weights(scores, window, locore.beta, locore.space, self.sinks)
            new = merge.values_of(weights, self.values, table)
            # A row whose window is empty keeps the kernel's own output, to the bit.
            out.copy_(torch.where(window.any(1)[:, None, None], new, out.float()))
            return
        o_window, lse_window = merge.window_attention(
            q,
            self.keys,
            self.values,
            table[None].expand(len(q), -1),
            position,
            prompt,
            width,
            locore.window,
            self.scale,
            self.softcap,
            self.sliding,
        )
        lse = merge.log_sum(scores, self.sinks)
        beta = torch.full_like(lse[:, 0], locore.beta)
        renormalised = torch.full_like(position, locore.space == "probability", dtype=torch.bool)
        out.copy_(merge.strengthened(out.float(), lse, o_window, lse_window, beta, renormalised))

    def read(self, one: Rows, scores: Tensor) -> None:
        """Keep the weights of a request's last row, from its scores `[1, H, K]`, with LocoRE's change in them."""
        locore = one.asked.locore if one.asked.locore and one.asked.locore.acts_on(self.number) else None
        beta, space, width = (locore.beta, locore.space, locore.window) if locore else (0.0, "probability", 1)
        position = torch.tensor([scores.shape[-1] - 1], device=scores.device)
        prompt, width = (torch.full_like(position, number) for number in (one.prompt, width))
        window = merge.in_window(position, prompt, width, scores.shape[-1])
        weights = merge.edited_weights(scores, window, beta, space, self.sinks)[0].mean(0)
        one.pending.weights[self.number] = weights
