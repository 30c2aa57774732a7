"""CHAIR, in the two variants that carry the name: see `score`, and docs/scorers.md for what was checked."""

from __future__ import annotations

from .locate import Located, locate
from .mentions import VARIANTS, Mentions, find_mentions
from .scorer import read_objects, score, table
from .synonyms import Synonyms
from .truth import from_coco

__all__ = [
    "VARIANTS",
    "Located",
    "Mentions",
    "Synonyms",
    "find_mentions",
    "from_coco",
    "locate",
    "read_objects",
    "score",
    "table",
]
