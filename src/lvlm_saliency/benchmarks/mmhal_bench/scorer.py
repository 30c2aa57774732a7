"""MMHal-Bench: a judge's rating from 0 to 6 of 96 answers in eight types of question (Sun et al. 2023).

Official sources: llava-rlhf/LLaVA-RLHF `summarize_gpt_mmhal.py`; RLHF-V's `summarize_gpt_mmhal_review.py`
(informativeness).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.benchmarks.judged import mean_of, named, result
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems, read_json
from lvlm_saliency.judge.replay import text_of
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, tabulate

TYPES = ("attribute", "adversarial", "comparison", "counting", "relation", "environment", "holistic", "other")
FIGURES = {
    "average_score": mean_of("score", "replies"),
    "hallucination_rate": mean_of("hallucinated", "replies"),
    "informativeness": mean_of("informative", "replies", 100 / 3),
    "judged_average_score": mean_of("judged_score", "judged"),
    "judged_hallucination_rate": mean_of("judged_hallucinated", "judged"),
}
COLUMNS = ("replies", "score", "hallucinated", "informative", "judged", "judged_score", "judged_hallucinated")


def parse(reply: str) -> int | None:
    """The rating in a judge's reply: which one of "rating: 0" to "rating: 6" its lower case holds; None where that is
    none or more than one. So "**Rating:** 4" and "Rating:4" have none, and "Rating: 10" is 1."""
    lowered = reply.lower()
    found = [rating for rating in range(7) if f"rating: {rating}" in lowered]
    return found[0] if len(found) == 1 else None


def score(
    replies: Sequence[str] | str | Path,
    types: Sequence[str] | None = None,
    *,
    errors: str = "raise",
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """MMHal-Bench of a judge's `replies`, texts in the order of the 96 questions, or a file: a list of texts, or of API
    responses (`choices[0].message.content`).

    `types`: the type of each question; by default the eight in turn, which is the order of the official file.

    Returns `average_score` (0 to 6), `hallucination_rate` (fraction below 3), `per_type` (average score), unrounded
    (the official script prints 2 decimals), `informativeness` (RLHF-V, percent), `replies`, `unparsable`: a reply
    without a readable rating, which officially counts as 0 and so as a hallucination. `judged_average_score` and
    `judged_hallucination_rate` are the careful figures without those. `intervals` (questions are redrawn within their
    type), `per_question`. Raises `InputError`.
    """
    problems = Problems(errors)
    file = named(replies, "replies")
    said = _texts(read_json(replies) if isinstance(replies, str | Path) else replies, file)
    kinds = [TYPES[index % len(TYPES)] for index in range(len(said))] if types is None else list(types)
    if len(kinds) != len(said):
        raise InputError(f"{file}: {len(kinds)} types for {len(said)} replies")
    if types is None and len(said) % len(TYPES):
        raise InputError(
            f"{file}: {len(said)} replies: the official order has the {len(TYPES)} types in turn; pass types"
        )
    entries = [_entry(index, kind, parse(reply)) for index, (kind, reply) in enumerate(zip(kinds, said, strict=True))]
    counts = table({"per_question": entries})
    values = counts.values()
    return result(
        "mmhal-bench",
        counts,
        "question",
        problems,
        bootstrap,
        **{name: values[name] for name in FIGURES},
        per_type={kind: values[kind] for kind in dict.fromkeys(kinds)},
        replies=len(entries),
        unparsable=sum(not entry["judged"] for entry in entries),
        per_question=entries,
    )


def table(found: Mapping[str, Any]) -> CountTable:
    """The sums per question of a result of `score`."""
    kinds = list(dict.fromkeys(entry["type"] for entry in found["per_question"]))
    rows = (
        (
            (entry["type"], entry["question"]),
            {**entry, f"{entry['type']}:score": entry["score"], f"{entry['type']}:replies": 1},
        )
        for entry in found["per_question"]
    )
    figures = {**FIGURES, **{kind: mean_of(f"{kind}:score", f"{kind}:replies") for kind in kinds}}
    columns = [*COLUMNS, *(f"{kind}:{what}" for kind in kinds for what in ("score", "replies"))]
    return tabulate(rows, columns, figures, stratum=lambda key: key[0])  # type: ignore[index]


def _entry(index: int, kind: str, rating: int | None) -> dict[str, Any]:
    mark = 0 if rating is None else rating
    judged = int(rating is not None)
    return {
        "question": index,
        "type": kind,
        "replies": 1,
        "score": mark,
        "hallucinated": int(mark < 3),
        "informative": mark - 3 if mark >= 3 else mark,
        "judged": judged,
        "judged_score": mark * judged,
        "judged_hallucinated": int(mark < 3) * judged,
    }


def _texts(replies: Any, file: str) -> list[str]:
    if isinstance(replies, str) or not isinstance(replies, Sequence):
        raise InputError(f"{file}: expected a list of texts, one for each question")
    return [text_of(reply, f"{file}[{index}]") for index, reply in enumerate(replies)]
