"""LLaVA-Bench (in the wild): a judge's marks for a model beside those for reference answers (Liu et al. 2023)."""

from .scorer import FAILED, parse, report, score, table

__all__ = ["FAILED", "parse", "report", "score", "table"]
