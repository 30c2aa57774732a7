"""Score AMBER from its official folder: the data is read once, and each response file in both of its tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems, Rows, read_json, read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap

from .discriminative import score_discriminative
from .generative import score_generative
from .records import GENERATIVE, read_annotations, read_safe_words
from .similarity import Similarity, from_table, identical, spacy_vectors


def file_scorer(
    data: str | Path, similarity: str = "spacy", queries: Sequence[str | Path] = ()
) -> Callable[..., list[dict[str, Any]]]:
    """`score(path, errors=..., bootstrap=...) -> results`, one for each task that the file's ids belong to.

    `data`: the folder with annotations.json, relation.json and safe_words.txt. `similarity`: "spacy", "identical" or
    the path of a JSON table. `queries`: query files, from which yes/no questions get their images. Raises `InputError`.
    """
    folder = Path(data)
    annotations = read_rows(folder / "annotations.json")
    types = {number: record["type"] for number, record in read_annotations(annotations).items()}
    relations, safe_words = read_json(folder / "relation.json"), read_safe_words(folder / "safe_words.txt")
    images = {row["id"]: row["image"] for file in queries for row in _queries(file)} or None

    def score(path: str | Path, errors: str = "raise", bootstrap: Bootstrap | None = None) -> list[dict[str, Any]]:
        problems = Problems(errors)
        responses = read_rows(path, problems)
        kinds = {types.get(number) == GENERATIVE for number in _ids(responses) if number in types}
        how: dict[str, Any] = {"errors": errors, "bootstrap": bootstrap}
        results = []
        if True in kinds:
            alike, safe = _similarity(similarity), sorted(safe_words)
            results.append(score_generative(responses, annotations, relations, safe, alike, **how))
            results[-1]["similarity"] = similarity
        if False in kinds or not kinds:
            results.append(score_discriminative(responses, annotations, images=images, **how))
        for kind, count in problems.skipped.items():
            results[0]["skipped"][kind] = results[0]["skipped"].get(kind, 0) + count
        return results

    return score


def _ids(responses: Rows) -> set[int]:
    return {row["id"] for row in responses if isinstance(row.get("id"), int)}


def _queries(path: str | Path) -> Rows:
    rows = read_rows(path)
    for line, row in zip(rows.lines, rows, strict=True):
        if not isinstance(row.get("id"), int) or not isinstance(row.get("image"), str):
            raise InputError(f"{path}:{line}: a query needs an id and an image")
    return rows


def _similarity(name: str) -> Similarity:
    if name in {"spacy", "identical"}:
        return spacy_vectors() if name == "spacy" else identical
    return from_table(name)
