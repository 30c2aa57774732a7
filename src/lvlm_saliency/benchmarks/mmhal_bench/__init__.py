"""MMHal-Bench: a judge's rating from 0 to 6 of 96 answers in eight types of question (Sun et al. 2023)."""

from .scorer import TYPES, parse, score, table

__all__ = ["TYPES", "parse", "score", "table"]
