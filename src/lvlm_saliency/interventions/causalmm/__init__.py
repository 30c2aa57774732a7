"""CausalMM: the method, and its counterfactual attention (`counterfactual`)."""

from lvlm_saliency.interventions.causalmm.method import CausalMM

__all__ = ["CausalMM"]
