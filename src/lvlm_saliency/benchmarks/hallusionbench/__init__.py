"""HallusionBench: yes/no questions on pictures, edited pictures and none, read by a judge (Guan et al. 2024)."""

from .scorer import CAUSES, PLACE, score, table

__all__ = ["CAUSES", "PLACE", "score", "table"]
