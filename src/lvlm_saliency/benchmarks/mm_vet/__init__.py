"""MM-Vet: a judge's mark between 0 and 1 for every answer, by capability (Yu et al. 2023)."""

from .scorer import CAPABILITIES, parse, score, table

__all__ = ["CAPABILITIES", "parse", "score", "table"]
