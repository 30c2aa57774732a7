"""AMBER's generative task (Wang et al. 2023; docs/scorers.md, quirks 11 and 12).

Official source: junyangwang0410/AMBER `inference.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.benchmarks import nltk_tools
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems, read_json
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, ratio, tabulate

from .records import GENERATIVE, Records, matched, read_annotations, read_safe_words
from .similarity import Similarity, spacy_vectors

THRESHOLD = 0.8  # two words mean the same strictly above it
COLUMNS = (
    "responses",
    "hallucinated_responses",
    "mentions",
    "hallucinated_mentions",
    "truth",
    "covered_truth",
    "hallu",
    "covered_hallu",
)
FIGURES = {
    "CHAIR": lambda total: ratio(total["hallucinated_mentions"], total["mentions"]),
    "Cover": lambda total: ratio(total["covered_truth"], total["truth"]),
    "Hal": lambda total: ratio(total["hallucinated_responses"], total["responses"]),
    "Cog": lambda total: ratio(total["covered_hallu"], total["hallu"]),
}


def nltk_nouns(response: str) -> list[str]:
    """The official extraction: tokens tagged NN*, as WordNet noun lemmas, case kept ("Dogs" stays, and is lost)."""
    return [nltk_tools.lemma(word) for word, tag in nltk_tools.tags(nltk_tools.words(response)) if tag[:2] == "NN"]


def score_generative(
    responses: Records | str | Path,
    annotations: Records | str | Path,
    relations: Mapping[str, Sequence[str]] | str | Path,
    safe_words: Sequence[str] | str | Path,
    similarity: Similarity | None = None,
    *,
    nouns: Callable[[str], Sequence[str]] = nltk_nouns,
    errors: str = "raise",
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """AMBER's CHAIR, Cover, Hal and Cog of `[{"id", "response"}]`; data as given officially, or files of it.

    `similarity`: `(word, word) -> float`, words above 0.8 meaning the same; None is the official one, spaCy's
    en_core_web_lg. `nouns`: what extracts the nouns of a response; the default needs NLTK and its data. `errors`:
    "raise", or "skip" to leave out and count malformed records, unknown ids and second responses. Responses to yes/no
    records are passed over.

    Returns fractions (NaN where undefined), their counts, `printed` (the official figures: percent, one decimal,
    denominators from 0.001), `unanswered` records, `intervals`, `skipped`, `per_response`. Raises `InputError`.
    """
    problems = Problems(errors)
    records = read_annotations(annotations)
    associations = read_json(relations) if isinstance(relations, str | Path) else relations
    if not isinstance(associations, Mapping):
        raise InputError("AMBER's relations must be an object of words, each with a list of words")
    always_safe = read_safe_words(safe_words)
    vocabulary = {word for owner, others in associations.items() for word in (owner, *others)}
    alike = spacy_vectors() if similarity is None else similarity
    per_response = []
    for number, response, record in matched(responses, records, lambda kind: kind == GENERATIVE, problems):
        if not all(isinstance(record.get(part), list) for part in ("truth", "hallu")):
            raise InputError(f"annotation {number}: a generative record needs its lists truth and hallu")
        mentioned = [noun for noun in nouns(response) if noun in vocabulary]
        truth, hallu = _Entries(record["truth"], associations), _Entries(record["hallu"], associations)
        wrong = [noun for noun in mentioned if noun not in always_safe and not _is_safe(noun, truth, hallu, alike)]
        per_response.append(
            {
                "id": number,
                "nouns": mentioned,
                "hallucinated": wrong,
                "responses": 1,
                "hallucinated_responses": int(bool(wrong)),
                "mentions": len(mentioned),
                "hallucinated_mentions": len(wrong),
                "truth": len(record["truth"]),
                "covered_truth": len(truth.covered),
                "hallu": len(record["hallu"]),
                "covered_hallu": len(hallu.covered),
            }
        )
    expected = sum(record["type"] == GENERATIVE for record in records.values())
    return _result(per_response, expected, problems, bootstrap or Bootstrap())


def generative_table(result: Mapping[str, Any]) -> CountTable:
    """The counts per record, which is one image each."""
    return tabulate(((entry["id"], entry) for entry in result["per_response"]), COLUMNS, FIGURES)


class _Entries:
    """A record's words: those associated with each, in order, then the words themselves, each known by its owner."""

    def __init__(self, owners: Sequence[str], associations: Mapping[str, Sequence[str]]) -> None:
        linked = [(word, index) for index, owner in enumerate(owners) for word in associations.get(owner, ())]
        self.words = linked + [(owner, index) for index, owner in enumerate(owners)]
        self.covered: set[int] = set()

    def cover(self, noun: str, same: Callable[[str, str], bool]) -> bool:
        """Mark the owner of the first word that is the `same` as `noun`, and say whether there is one."""
        owner = next((owner for word, owner in self.words if same(noun, word)), None)
        if owner is not None:
            self.covered.add(owner)
        return owner is not None


def _is_safe(noun: str, truth: _Entries, hallu: _Entries, similarity: Similarity) -> bool:
    """Whether `noun` is in the picture. A noun that only resembles a true one may count for Cog and be safe as well."""

    def alike(one: str, other: str) -> bool:
        return similarity(one, other) > THRESHOLD

    if truth.cover(noun, str.__eq__):
        return True
    hallu.cover(noun, str.__eq__)
    hallu.cover(noun, alike)
    return truth.cover(noun, alike)


def _result(
    per_response: list[dict[str, Any]], expected: int, problems: Problems, bootstrap: Bootstrap
) -> dict[str, Any]:
    table = generative_table({"per_response": per_response})
    counts = {name: int(total) for name, total in zip(COLUMNS, table.counts.sum(axis=0), strict=True)}
    return {
        "benchmark": "amber",
        "task": "generative",
        **table.values(),
        **counts,
        "printed": _printed(counts),
        "unanswered": expected - counts["responses"],
        "intervals": bootstrap.intervals(table),
        "bootstrap": bootstrap.settings(),
        "skipped": dict(problems.skipped),
        "per_response": per_response,
    }


def _printed(counts: Mapping[str, int]) -> dict[str, float]:
    """Percentages as the official script prints them. Its denominators begin at 0.001."""

    def percent(part: int, whole: int) -> float:
        return round(part / (whole + 0.001) * 100, 1)

    clean = (counts["responses"] - counts["hallucinated_responses"]) / (counts["responses"] + 0.001) * 100
    return {
        "CHAIR": percent(counts["hallucinated_mentions"], counts["mentions"]),
        "Cover": percent(counts["covered_truth"], counts["truth"]),
        "Hal": round(100 - clean, 1),
        "Cog": percent(counts["covered_hallu"], counts["hallu"]),
    }
