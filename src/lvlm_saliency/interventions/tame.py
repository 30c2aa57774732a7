"""TAME: a temperature from the size of queries and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.interventions.base import AttentionMethod, check_layers, layer_numbers, number

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.attention.edits import RowEdit
    from lvlm_saliency.attention.state import RowContext

TINY = 1e-7


@dataclass(frozen=True)
class TAME(AttentionMethod):
    """Scores are multiplied by a factor that grows as queries and keys shrink, so that no anchor token takes all the
    attention.

    "Intervening Anchor Token: Decoding Strategy in Alleviating Hallucinations for MLLMs", ICLR 2025. This is the
    released code, from which the published figures come: every score is multiplied by (1 + gain / ln tau_Q)
    (1 + gain / ln tau_K), where tau_Q is the squared norm of the queries of this call and tau_K that of all keys so
    far, each summed over positions and averaged over heads.

    The prompt's rows share one factor, a decoded row has its own. The paper's formula is another one, on the
    eigenvalues of W_Q W_K^T; the code does not contain it, and it is not offered. The code averages over the batch and
    counts padding. Here each sample has its own tau over its own tokens, in float32, over key/value heads where those
    are fewer, and sliding-window layers count the keys in their window.

    Args:
        gain: 0 switches the method off, bit-identically. Released code: 0.8.
        layers: decoder layers to act on, default all.
    """

    name: ClassVar[str] = "tame"
    paper: ClassVar[str] = "ICLR 2025, Intervening Anchor Token"
    edits: ClassVar[str] = "temperature of attention rows"
    cost: ClassVar[str] = "no extra pass"
    composes: ClassVar[str] = "any other method; a text written under it cannot be traced under it"

    gain: float = 0.8
    layers: Sequence[int] | None = None

    def __post_init__(self) -> None:
        number("TAME", "gain", self.gain, 0, 1e4)
        object.__setattr__(self, "layers", layer_numbers("TAME", self.layers))

    def check_model(self, model: Any) -> None:
        check_layers(model, self.layers)

    @property
    def edits_prompt(self) -> bool:
        """All rows of the prompt share a temperature."""
        return bool(self.gain)

    def edit_rows(self, context: RowContext) -> RowEdit | None:
        import torch

        from lvlm_saliency.attention.edits import RowEdit, Temper

        if not self.gain or (self.layers is not None and context.layer not in self.layers):
            return None
        context.needs_whole_prompt("tame")
        rows = context.rows
        query_size, key_size = (x.float().square().sum(-1).mean(1) for x in (rows.query, rows.key))  # [B, T], [B, K]
        padding = context.columns(context.padding)
        if padding is not None:
            key_size = key_size.masked_fill(padding, 0)
        key_total = self._key_total(context, key_size)
        in_prompt = context.query_positions < context.prompt_length
        if context.past == 0:  # the rows of the prompt share one factor
            count = min(context.prompt_length, context.new)
            real = query_size if padding is None else query_size.masked_fill(padding[:, : context.new], 0)
            query_size = torch.where(in_prompt, real[:, :count].sum(1, keepdim=True), query_size)
            key_total = torch.where(in_prompt, key_total[:, count - 1 : count], key_total)
        heads, groups = rows.query.shape[1], rows.groups
        (of_query, query_slope), (of_key, key_slope) = (self._factor(tau) for tau in (query_size, key_total))
        parts = (of_query * of_key, of_key * query_slope * 2 / heads, of_query * key_slope * 2 / groups)
        return RowEdit(temper=Temper(*(part[:, None, :, None] for part in parts)))

    def _factor(self, tau: Tensor) -> tuple[Tensor, Tensor]:
        """1 + gain / ln tau and its derivative."""
        import torch

        log = torch.log(tau + TINY)
        return 1 + self.gain / log, -self.gain / (log.square() * (tau + TINY))

    @staticmethod
    def _key_total(context: RowContext, key_size: Tensor) -> Tensor:
        """Summed size of the keys that each row sees, float32 `[B, T]`."""
        visible = context.rows.visible(slice(0, context.new))
        if visible is None:
            return key_size.sum(1, keepdim=True).expand(-1, context.new)
        seen = visible[:, 0].float().expand(len(key_size), -1, -1)
        return (seen @ key_size[:, :, None]).squeeze(-1)
