"""MME: pairs of yes/no questions on one image, in 14 tasks (Fu et al. 2023; docs/scorers.md, quirk 10)."""

from .scorer import COGNITION, GROUPS, HALLUCINATION, PERCEPTION, TASKS, parse, read_answers, score, table

__all__ = ["COGNITION", "GROUPS", "HALLUCINATION", "PERCEPTION", "TASKS", "parse", "read_answers", "score", "table"]
