"""OPERA: the method, its search (`retrospection`), its penalty (`over_trust`), and its rollbacks (`rollbacks`)."""

from lvlm_saliency.interventions.opera.method import OPERA

__all__ = ["OPERA"]
