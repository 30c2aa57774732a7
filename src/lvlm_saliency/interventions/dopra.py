"""DOPRA: OPERA's search with its penalty read in a middle layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lvlm_saliency.interventions.base import check_layers, number
from lvlm_saliency.interventions.opera import OPERA

DEPTH, LAYERS = 12, 32
"""The twelfth of LLaVA-1.5-7B's 32 layers."""


@dataclass(frozen=True)
class DOPRA(OPERA):
    """OPERA whose penalty comes from a middle layer, where summary tokens are said to show first. (Re-implementation
    from the description: no code was released, and the equations have not been compared with the paper's.)

    "DOPRA: Decoding Over-accumulation Penalization and Re-allocation in Specific Weighting Layer", ACM MM 2024,
    arXiv 2407.15130. It penalises over-accumulated attention in layer 12 and goes back to choose again, as OPERA does;
    penalty, votes, search and their settings are therefore OPERA's, unverified for this method. Any figure made
    with it is one of this re-implementation.

    Args:
        layer: number of the decoder layer whose attention is read, from 0. Default: the twelfth of 32 (number 11; the
            description does not say whether it counts from 0: set 12 for the other reading), and in a model of another
            depth the layer at the same relative depth. The last layer gives OPERA.
        n_beams, length_penalty, early_stopping, length_norm, alpha, sigma, threshold, candidates, max_rollbacks, mode:
            as in `OPERA`.
    """

    name: ClassVar[str] = "dopra"
    paper: ClassVar[str] = "arXiv 2407.15130"

    layer: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer is not None:
            number("DOPRA", "layer", self.layer, 0, whole=True)

    def check_model(self, model: Any) -> None:
        if self.layer is not None:
            check_layers(model, [self.layer])

    def tapped_layer(self, model: Any) -> int:
        """Number of the decoder layer whose attention is read; in a hybrid model the last one with attention so far."""
        from lvlm_saliency import hf

        if self.layer is not None:
            return self.layer
        usable = hf.attention_layers(model)
        wanted = max(0, round(hf.text_config(model).num_hidden_layers * DEPTH / LAYERS) - 1)
        return max((layer for layer in usable if layer <= wanted), default=usable[0])
