"""OPERA: the method, its search (`retrospection`), the penalty (`over_trust`), when it goes back (`rollbacks`)."""

from lvlm_saliency.interventions.opera.method import OPERA

__all__ = ["OPERA"]
