"""MMVP: pairs of questions on pictures that an encoder confuses (Tong et al. 2024)."""

from .scorer import by_letter, parse, score, table

__all__ = ["by_letter", "parse", "score", "table"]
