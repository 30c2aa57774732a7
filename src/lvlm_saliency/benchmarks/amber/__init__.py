"""AMBER: what a description says of a picture (generative), and yes/no questions on it (discriminative)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvlm_saliency.stats.counts import CountTable

from .discriminative import discriminative_table, score_discriminative
from .files import file_scorer
from .generative import generative_table, nltk_nouns, score_generative
from .similarity import from_table, identical, spacy_vectors

__all__ = [
    "file_scorer",
    "from_table",
    "identical",
    "nltk_nouns",
    "score_discriminative",
    "score_generative",
    "spacy_vectors",
    "table",
]


def table(result: Mapping[str, Any]) -> CountTable:
    """The counts per image of a result of either scorer, for `Bootstrap.differences`."""
    return generative_table(result) if result["task"] == "generative" else discriminative_table(result)
