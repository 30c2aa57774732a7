"""POPE: yes/no questions about objects, yes positive (Li et al. 2023; docs/scorers.md, quirks 7 to 9)."""

from .scorer import PARSERS, official, opera, score, table, vcd

__all__ = ["PARSERS", "official", "opera", "score", "table", "vcd"]
