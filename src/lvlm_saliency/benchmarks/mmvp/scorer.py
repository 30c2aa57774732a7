"""MMVP: pairs of questions on pictures that an encoder confuses (Tong et al. 2024).

Official source: tsb0601/MMVP `gpt_grader.py`. A pair counts where a judge finds both of its answers right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.benchmarks.judged import mean_of, named, result, text_of
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems, place, read_json, read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, tabulate

FIGURES = {
    "pair_accuracy": mean_of("both_right", "pairs"),
    "accuracy": mean_of("right", "questions"),
}
COLUMNS = ("pairs", "both_right", "right", "questions", "unclear")


def parse(reply: str) -> str | None:
    """ "yes" or "no" where the reply, in lower case, is exactly that; None for all else, "Yes." too."""
    lowered = reply.lower()
    return lowered if lowered in ("yes", "no") else None


def score(
    answers: Sequence[Mapping[str, Any]] | str | Path,
    replies: Sequence[str] | str | Path,
    *,
    errors: str = "raise",
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """MMVP of a judge's `replies` to `answers`, one reply each, in the order of the answers, or files of them.

    `answers`: `[{"question_id", "prompt", "answer", "response"}]`. Rows 2k and 2k + 1 are a pair, as officially by
    position alone; ids that contradict this (a missing line shifts all that follow) are a problem ("mismatched"). A
    reply that is neither yes nor no counts as wrong.

    Returns the fractions `pair_accuracy` (the official figure) and `accuracy` (of single questions), the counts
    `pairs`, `both_right`, `questions`, `right`, `unclear` (replies that are neither), `intervals` (pairs are redrawn),
    `per_pair`. Raises `InputError`.
    """
    problems = Problems(errors)
    rows = read_rows(answers, problems, keep_places=True) if isinstance(answers, str | Path) else answers
    file = named(answers, "answers")
    said = read_json(replies) if isinstance(replies, str | Path) else replies
    if isinstance(said, str) or not isinstance(said, Sequence) or not all(isinstance(reply, str) for reply in said):
        raise InputError(f"{named(replies, 'replies')}: expected a list of texts, one for each answer")
    if len(said) != len(rows):
        raise InputError(
            f"{file}: {len(said)} replies for {len(rows)} answers: an answer without a judgement is not scored"
        )
    if len(rows) % 2 or not rows:
        raise InputError(f"{file}: {len(rows)} answers: MMVP's questions come in pairs")
    pairs = []
    for first in range(0, len(rows), 2):
        if _apart(rows, first):
            problems.report("mismatched", f"{place(rows, first + 1, 'answers')}: its id does not follow its pair's")
            continue
        verdicts = [parse(said[first]), parse(said[first + 1])]
        right = sum(verdict == "yes" for verdict in verdicts)
        pairs.append(
            {
                "pair": first // 2,
                "pairs": 1,
                "both_right": int(right == 2),
                "right": right,
                "questions": 2,
                "unclear": verdicts.count(None),
            }
        )
    counts = table({"per_pair": pairs})
    sums = dict(zip(counts.columns, map(int, counts.counts.sum(axis=0)), strict=True))
    return result("mmvp", counts, "pair", problems, bootstrap, **counts.values(), **sums, per_pair=pairs)


def table(found: Mapping[str, Any]) -> CountTable:
    """The counts per pair of a result of `score`."""
    return tabulate(((entry["pair"], entry) for entry in found["per_pair"]), COLUMNS, FIGURES)


def by_letter(answer: Mapping[str, Any]) -> bool:
    """Without a judge: whether the response names the letter of the right option and no other, "(a)" or "a" alone.

    This is another metric than the official one, and figures of the two cannot be set side by side.
    """
    truth = text_of(answer, "answer", "answer").strip().strip("()").lower()
    response = text_of(answer, "response", "answer").strip().lower()
    named = {letter for letter in "ab" if f"({letter})" in response}
    return named == {truth} or response.rstrip(".") == truth


def _apart(rows: Sequence[Mapping[str, Any]], first: int) -> bool:
    """Whether the ids of two rows, where they are whole numbers, are not those of a pair: 2k + 1 and 2k + 2."""
    given: list[Any] = [rows[first + offset].get("question_id") for offset in (0, 1)]
    try:
        ids = [int(one) for one in given]
    except (TypeError, ValueError, OverflowError):  # of infinity
        return False
    return ids[1] != ids[0] + 1
