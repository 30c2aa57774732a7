"""FarSight: attention registers in the causal mask's upper triangle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.interventions.base import AttentionMethod, check_layers, choice, layer_numbers, number

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.attention.edits import RowEdit
    from lvlm_saliency.attention.state import RowContext

MODES = ("paper", "official_code")


@dataclass(frozen=True)
class FarSight(AttentionMethod):
    """The positions to the right of a row, which it cannot see, take a share of its attention; their values are zero.

    "Seeing Far and Clearly: Mitigating Hallucinations in MLLMs with Attention Causal Decoding", CVPR 2025,
    arXiv 2505.16652. Row i puts score -c (j - i) where j > i, takes the softmax over all L columns and drops those to
    the right without normalising again. These columns together weigh R_i = sum over d = 1 .. L-1-i of exp(-c d), so
    that

        A'_ij = exp(score_ij) / (Z_i + R_i),    Z_i = sum over j <= i of exp(score_ij):

    one more key with logit ln R_i, whose value is zero.

    With a key/value cache: L is the length so far, so the newest row has R = 0 and every earlier row changes when the
    text grows. A cache keeps each row as it was computed: the prompt's rows are edited once, with the prompt's length
    as L, and decode steps are not edited. `generate(use_cache=False)` is the method as published, at the cost of a full
    pass per token. `horizon` is a variant for which a cache is exact: every row, the newest too, is edited as if a
    fixed number of positions always followed.

    Args:
        sigma: decay c of the registers; inf switches the method off, bit-identically. Released code: ln 256 / ln 1024.
        horizon: None for the length so far; a number of positions that follow every row (inf for any number).
        layers: decoder layers to act on, default all.
        mode: "paper": c = sigma. "official_code": c = sigma (0.5 + 0.5 f_i) + m_h with f_i = 1 - 0.5 i / (L-1) and
            ALiBi's slope m_h = 2^(-8 (h+1) / H). The released patch also adds the model's causal mask, which takes the
            registers away again; that part is not followed. The default is "paper".
    """

    name: ClassVar[str] = "farsight"
    paper: ClassVar[str] = "arXiv 2505.16652"
    edits: ClassVar[str] = "mass of attention rows, by their distance from the end"
    cost: ClassVar[str] = "no extra pass; with use_cache=False, as written, a whole pass per token"

    sigma: float = 0.8
    horizon: float | None = None
    layers: Sequence[int] | None = None
    mode: str = "paper"

    def __post_init__(self) -> None:
        number("FarSight", "sigma", self.sigma, 0)
        if self.horizon is not None:
            number("FarSight", "horizon", self.horizon, 1)
        choice("FarSight", "mode", self.mode, MODES)
        object.__setattr__(self, "layers", layer_numbers("FarSight", self.layers))

    def check_model(self, model: Any) -> None:
        check_layers(model, self.layers)

    @property
    def edits_prompt(self) -> bool:
        """Every row but the newest is edited, at the length that it was fed at."""
        return self.sigma != math.inf

    def edit_rows(self, context: RowContext) -> RowEdit | None:
        import torch

        from lvlm_saliency.attention.edits import RowEdit

        if self.sigma == math.inf or (self.layers is not None and context.layer not in self.layers):
            return None
        positions = context.query_positions.float()
        if self.horizon is None:
            recomputed = context.past == 0 and not context.cached  # the whole text so far, at each of its steps
            length: float = max(context.prompt_length, context.new if recomputed else 0)
            if context.past >= length - 1:
                return None  # each of these rows is the newest of its step
            behind = (length - 1 - positions).clamp_min(0)
        else:
            length = self.horizon + 1
            behind = torch.full_like(positions, self.horizon)
        return RowEdit(sink=log_registers(self._decay(context, positions, length), behind[:, None]))

    def _decay(self, context: RowContext, positions: Tensor, length: float) -> Tensor:
        """c, float32 broadcastable to `[B, H, T, 1]`."""
        import torch

        if self.mode == "paper":
            return torch.tensor(self.sigma, device=context.device).expand(1, 1, 1, 1)
        heads = context.rows.query.shape[1]
        pads = torch.zeros(1, 1, device=context.device)
        if context.padding is not None:
            pads = context.columns(context.padding).sum(1, keepdim=True).float() if context.offset == 0 else pads
        reach = (positions - pads).clamp_min(0) / (length - 1 - (pads if self.horizon is None else 0))  # [B, T]
        fading = 1 - 0.5 * reach.clamp(max=1)
        slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1, device=context.device) / heads)
        return (self.sigma * (0.5 + 0.5 * fading))[:, None, :, None] + slopes[None, :, None, None]


def log_registers(decay: Tensor, behind: Tensor) -> Tensor:
    """ln R = ln of the sum of exp(-c d) over d = 1 .. n, where c is `decay` and n `behind`, 0 or more (inf allowed)."""
    import torch

    geometric = torch.expm1(-decay * behind) / torch.expm1(-decay)
    total = torch.where(decay > 0, torch.exp(-decay) * geometric, behind)
    return torch.where(behind > 0, total, torch.zeros(())).log()
