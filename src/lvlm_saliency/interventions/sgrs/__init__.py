"""SGRS: the method, its gate (`rejection`, `scoring`), and the same choices in blocks (`blockwise`, `block_size`)."""

from lvlm_saliency.interventions.sgrs.method import SGRS

__all__ = ["SGRS"]
