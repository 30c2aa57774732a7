"""CausalMM: the method and the attention that it sets against the model's own (`counterfactual`)."""

from lvlm_saliency.interventions.causalmm.method import CausalMM

__all__ = ["CausalMM"]
