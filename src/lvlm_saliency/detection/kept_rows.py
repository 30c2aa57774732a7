"""Logits and attention of the rows that a reading keeps, as the passes bring them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lvlm_saliency.detection.base import Needs
from lvlm_saliency.detection.plan import Plan
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.tracing.logits import finite_logits


class Rows:
    """Logits and attention of the answer's rows, put where each text wants them."""

    def __init__(self, needs: Needs, plans: list[Plan], found: list[Reading]):
        self.needs, self.plans, self.found = needs, plans, found
        self.tokens: list[list[tuple[Tensor, ...]]] = [[] for _ in plans]
        self.surprises: list[list[Tensor]] = [[] for _ in plans]

    def logits(self, first: int, logits: Tensor, target: Tensor) -> None:
        """Log p, entropy and margin of the tokens that rows from `first` on predict."""
        if not self.needs.logits:
            return
        for plan, kept, surprises in zip(self.plans, self.tokens, self.surprises, strict=True):
            last = min(first + logits.shape[1], plan.count)
            if last > first:
                rows = finite_logits(logits[plan.sample, : last - first])
                log_p = torch.log_softmax(rows, -1)
                chosen = target[plan.sample, plan.length + first : plan.length + last, None].to(rows.device)
                own = log_p.gather(-1, chosen)
                best = log_p.scatter(-1, chosen, float("-inf")).amax(-1, keepdim=True)
                entropy = -(log_p.exp() * log_p.masked_fill(log_p == float("-inf"), 0)).sum(-1)
                kept.append((own[:, 0].cpu(), entropy.cpu(), (own - best)[:, 0].cpu()))
            wanted = plan.rows[(plan.rows >= first) & (plan.rows < first + logits.shape[1])]
            if len(wanted):
                rows = finite_logits(logits[plan.sample, (wanted - first).to(logits.device)])
                large = rows.topk(min(100, rows.shape[-1]), -1).values
                share = torch.log_softmax(large, -1)
                surprises.append(
                    torch.stack([-(share.exp() * share).nansum(-1), large[:, 0], share[:, 0].exp()], -1).cpu()
                )

    def attention(self, layer: int, first: int, weights: Tensor, offset: int) -> None:
        """One layer's rows `[B, H, t, K]`, key column 0 at position `offset`."""
        for plan, text in zip(self.plans, self.found, strict=True):
            # The cache may have room for more keys than there are, and a sliding layer holds the last ones only.
            seen = plan.columns[(plan.columns >= offset) & (plan.columns < offset + weights.shape[-1])]
            at = torch.searchsorted(plan.columns, seen)
            own = weights[plan.sample]
            if layer in self.needs.attention:
                wanted = (plan.rows >= first) & (plan.rows < first + weights.shape[2])
                rows = own[:, (plan.rows[wanted] - first).to(own.device)][..., (seen - offset).to(own.device)].cpu()
                sheet = text.attention.setdefault(
                    layer, np.zeros((own.shape[0], len(plan.rows), len(plan.columns)), dtype=np.float32)
                )
                sheet[:, wanted.nonzero().flatten().numpy()[:, None], at.numpy()] = rows.numpy()
            if layer in self.needs.chain:
                self._chain(layer, first, own, offset, plan, text)

    def _chain(self, layer: int, first: int, own: Tensor, offset: int, plan: Plan, text: Reading) -> None:
        chain = text.chain.setdefault(layer, np.zeros((own.shape[0], 2, plan.count + 1), dtype=np.float32))
        last = min(first + own.shape[1], plan.count + 1)
        rows = torch.arange(first, last)
        for back in (0, 1):
            keys = rows + plan.length - 1 - back - offset
            inside = keys >= 0
            picked = own[:, (rows - first)[inside].to(own.device), keys[inside].to(own.device)]
            chain[:, back, rows[inside].numpy()] = picked.float().cpu().numpy()

    def finish(self) -> None:
        for text, kept, surprises in zip(self.found, self.tokens, self.surprises, strict=True):
            if self.needs.logits:
                parts = [torch.cat(part).double().numpy() for part in zip(*kept, strict=True)] if kept else []
                text.logprob, text.entropy, text.margin = parts or [np.zeros(0)] * 3
                text.surprise = torch.cat(surprises).double().numpy()
