"""CHAIR, in the two variants that carry the name: see `score`, and docs/scorers.md for what was checked."""

from __future__ import annotations

from .mentions import VARIANTS, Mentions, find_mentions
from .scorer import read_objects, score, table
from .synonyms import Synonyms
from .truth import from_coco

__all__ = ["VARIANTS", "Mentions", "Synonyms", "find_mentions", "from_coco", "read_objects", "score", "table"]
