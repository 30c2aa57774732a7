"""MemVR: the method and its hooks (`retracing`)."""

from lvlm_saliency.interventions.memvr.method import MemVR

__all__ = ["MemVR"]
