"""SGRS: the method, its selector (`rejection`, `scoring`), and the blockwise execution (`blockwise`, `block_size`)."""

from lvlm_saliency.interventions.sgrs.method import SGRS

__all__ = ["SGRS"]
