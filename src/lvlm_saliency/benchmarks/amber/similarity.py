"""When two nouns of AMBER mean the same: pluggable, since the official answer is one spaCy model's word vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import read_json

Similarity = Callable[[str, str], float]


def identical(one: str, other: str) -> float:
    """1.0 for equal words, else 0.0: AMBER without word vectors."""
    return float(one == other)


def from_table(table: Mapping[str, float] | str | Path) -> Similarity:
    """A similarity looked up in `{"one|other": value}`, symmetric, 1.0 for equal words and 0.0 for absent pairs.

    `table` may be a JSON file of it. Raises `InputError`.
    """
    values = read_json(table) if isinstance(table, str | Path) else table
    if not isinstance(values, Mapping) or not all(
        isinstance(pair, str) and pair.count("|") == 1 and isinstance(value, int | float)
        for pair, value in values.items()
    ):
        raise InputError(f'{table if isinstance(table, str | Path) else "table"}: expected {{"one|other": number}}')

    def look_up(one: str, other: str) -> float:
        return 1.0 if one == other else float(values.get(f"{one}|{other}", values.get(f"{other}|{one}", 0.0)))

    return look_up


@lru_cache(maxsize=2)
def spacy_vectors(model: str = "en_core_web_lg") -> Similarity:
    """The official similarity: spaCy's, between the two words as documents of `model`.

    Raises `InputError` when spaCy or the model is not installed.
    """
    try:
        import spacy

        pipeline = spacy.load(model)
    except (ImportError, OSError) as missing:
        raise InputError(
            "AMBER's similarity needs spaCy and its model: pip install 'lvlm-saliency[amber]', then "
            f"python -m spacy download {model}; or give another similarity and say so"
        ) from missing
    document = lru_cache(maxsize=4096)(pipeline)
    return lru_cache(maxsize=None)(lambda one, other: float(document(one).similarity(document(other))))
