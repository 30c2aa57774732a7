"""ScienceQA: questions with two to five options, half of them with a picture (Lu et al. 2022)."""

from .scorer import VARIANTS, option, parse, score, table

__all__ = ["VARIANTS", "option", "parse", "score", "table"]
