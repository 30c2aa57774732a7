"""HallusionBench: yes/no questions on pictures, edited pictures and none, read by a judge (Guan et al. 2024).

Official source: tianyi-lab/HallusionBench `evaluation.py`. A judge says of every answer whether it is correct, and
whether it is the same as the answer to the same question at the original figure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvlm_saliency.benchmarks.judged import mean_of, named, result
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems, place, read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, ratio, tabulate

Rows = Sequence[Mapping[str, Any]] | str | Path
Entry = Mapping[str, Any]

WRONG, RIGHT, UNCLEAR = 0, 1, 2
PLACE = ("category", "subcategory", "set_id", "figure_id", "question_id")
CAUSES = ("LH", "VI", "Mixed")
_GROUPS = ("question", "pair", "figure", "easy", "hard")
COLUMNS = (
    *(f"{group}:{what}" for group in _GROUPS for what in ("total", "right")),
    *("said_yes", "true_yes", "wrong", "wrong_no"),
    *("inconsistent", "all_wrong"),
    *CAUSES,
)


def parse_correctness(reply: str) -> int:
    """0 where the lower-cased reply holds "incorrect", else 1 where it holds "correct" ("not correct" too), else 2."""
    lowered = reply.lower()
    return WRONG if "incorrect" in lowered else RIGHT if "correct" in lowered else UNCLEAR


def parse_same(reply: str) -> bool:
    """Whether the reply holds "same" in any case ("not the same" too)."""
    return "same" in reply.lower()


def score(
    judged: Rows, questions: Rows | None = None, *, errors: str = "raise", bootstrap: Bootstrap | None = None
) -> dict[str, Any]:
    """HallusionBench of `judged` entries, or a file of them.

    Each has `category`, `subcategory`, `set_id`, `figure_id`, `question_id`, `visual_input`, `gt_answer` and the
    judge's two replies, `correctness_reply` and `same_reply` (or what the official script stores: `correct`, 0, 1 or
    2, and `same`, 0 or 1). `questions`: the official file, which fills in what an entry does not repeat.

    Returns, as the official script prints them: in percent with 4 decimals `aAcc` (questions), `qAcc` (the same
    question at all figures of a set right), `fAcc` (all questions of a figure right), `easy_aAcc` and `hard_aAcc`
    (qAcc's rule over entries with visual_input other than 2, and 2: not accuracies per question, for all their names),
    `consistency` (figures `correct`, `inconsistent`, `wrong`) and the causes `LH` (language), `VI` (visual), `Mixed`,
    shares of the errors that have one; as fractions `yes_percentage_difference` (said yes less true yes; an unclear
    answer counts as the opposite of the truth) and `fp_ratio` (of wrong answers, those whose truth is no). `counts` by
    category, `unclear`, `intervals` (sets are redrawn), `per_question`. Raises `InputError`.
    """
    problems = Problems(errors)
    entries = _entries(judged, questions, problems)
    counts = table({"per_question": entries})
    values = counts.values()
    percent = {name: _percent(values[name]) for name in ("aAcc", "qAcc", "fAcc", "easy_aAcc", "hard_aAcc")}
    consistency = {name: _percent(values[f"figures {name}"]) for name in ("correct", "inconsistent", "wrong")}
    return result(
        "hallusionbench",
        counts,
        "set",
        problems,
        bootstrap,
        **percent,
        yes_percentage_difference=values["yes_percentage_difference"],
        fp_ratio=values["fp_ratio"],
        consistency=consistency,
        **{cause: _percent(values[cause]) for cause in CAUSES},
        counts={name: _counts(entries, name) for name in ("all", "VD", "VS")},
        unclear=sum(entry["label"] == UNCLEAR for entry in entries),
        per_question=entries,
    )


def table(found: Mapping[str, Any]) -> CountTable:
    """The sums per set (category, subcategory, set_id) of a result of `score`."""
    sets: dict[Hashable, list[Entry]] = {}
    for entry in found["per_question"]:
        sets.setdefault((entry["category"], entry["subcategory"], entry["set_id"]), []).append(entry)
    return tabulate(((key, _sums(entries)) for key, entries in sets.items()), COLUMNS, _FIGURES)


def _bias(total: Mapping[str, np.ndarray]) -> np.ndarray:
    return ratio(total["said_yes"] - total["true_yes"], total["question:total"])


def _cause(name: str) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    return lambda total: 100 * ratio(total[name], sum(total[cause] for cause in CAUSES))


_FIGURES = {
    "aAcc": mean_of("question:right", "question:total", 100.0),
    "qAcc": mean_of("pair:right", "pair:total", 100.0),
    "fAcc": mean_of("figure:right", "figure:total", 100.0),
    "easy_aAcc": mean_of("easy:right", "easy:total", 100.0),
    "hard_aAcc": mean_of("hard:right", "hard:total", 100.0),
    "yes_percentage_difference": _bias,
    "fp_ratio": mean_of("wrong_no", "wrong"),
    "figures correct": mean_of("figure:right", "figure:total", 100.0),
    "figures inconsistent": mean_of("inconsistent", "figure:total", 100.0),
    "figures wrong": mean_of("all_wrong", "figure:total", 100.0),
    **{cause: _cause(cause) for cause in CAUSES},
}


def _percent(value: float) -> float:
    return round(value, 4)


def _sums(entries: Sequence[Entry]) -> dict[str, float]:
    """The counts of one set."""
    groups = _grouped(entries)
    sums: dict[str, float] = {}
    for name, members in groups.items():
        sums[f"{name}:total"] = len(members)
        sums[f"{name}:right"] = sum(all(entry["correct"] for entry in group) for group in members)
    figures = [sum(entry["correct"] for entry in group) / len(group) for group in groups["figure"]]
    sums["inconsistent"] = sum(0 < share < 1 for share in figures)
    sums["all_wrong"] = sum(share == 0 for share in figures)
    sums["said_yes"] = sum(entry["correct"] == entry["truth"] for entry in entries)
    sums["true_yes"] = sum(entry["truth"] for entry in entries)
    sums["wrong"] = sum(not entry["correct"] for entry in entries)
    sums["wrong_no"] = sum(not entry["correct"] and not entry["truth"] for entry in entries)
    for cause in CAUSES:
        sums[cause] = sum(entry["cause"] == cause for entry in entries)
    return sums


def _grouped(entries: Sequence[Entry]) -> dict[str, list[list[Entry]]]:
    """Entries by what has to be right together."""
    kinds: dict[str, tuple[Callable[[Entry], bool], tuple[str, ...]]] = {
        "question": (lambda entry: True, PLACE),
        "pair": (lambda entry: True, ("category", "subcategory", "set_id", "question_id")),
        "figure": (lambda entry: not _without_figure(entry), ("category", "subcategory", "set_id", "figure_id")),
        "easy": (lambda entry: entry["visual_input"] != "2", ("category", "subcategory", "set_id", "question_id")),
        "hard": (lambda entry: entry["visual_input"] == "2", ("category", "subcategory", "set_id", "question_id")),
    }
    found = {}
    for name, (wanted, key) in kinds.items():
        groups: dict[tuple, list[Entry]] = {}
        for entry in entries:
            if wanted(entry):
                groups.setdefault(tuple(entry[part] for part in key), []).append(entry)
        found[name] = list(groups.values())
    return found


def _without_figure(entry: Entry) -> bool:
    """A question of the category that needs no picture, asked without one."""
    return entry["category"] == "VS" and entry["figure_id"] == "0"


def _counts(entries: Sequence[Entry], category: str) -> dict[str, dict[str, int]]:
    chosen = [entry for entry in entries if category in ("all", entry["category"])]
    return {
        name: {"total": len(groups), "correct": sum(all(entry["correct"] for entry in group) for group in groups)}
        for name, groups in _grouped(chosen).items()
    } | {"causes": {cause: sum(entry["cause"] == cause for entry in chosen) for cause in CAUSES}}


def _entries(judged: Rows, questions: Rows | None, problems: Problems) -> list[dict[str, Any]]:
    rows = read_rows(judged, problems) if isinstance(judged, str | Path) else judged
    asked = read_rows(questions, problems) if isinstance(questions, str | Path) else questions or ()
    known = {tuple(str(row.get(part)) for part in PLACE): row for row in asked}
    entries: list[dict[str, Any]] = []
    seen = set()
    for index, row in enumerate(rows):
        where = place(rows, index, "judged")
        key = tuple(str(row.get(part)) for part in PLACE)
        entry = _entry({**known.get(key, {}), **row}, where)
        if key in seen:
            problems.report("duplicate", f"{where}: a second entry of {', '.join(key)}")
            continue
        seen.add(key)
        entries.append(entry)
    original = {_question(entry): entry["label"] for entry in entries if entry["figure_id"] == "0"}
    kept = []
    for entry in entries:
        if _question(entry) not in original:
            problems.report(
                "no_original",
                f"{named(judged, 'judged')}: {', '.join(_question(entry))}: no answer at figure 0 to set it beside",
            )
            continue
        kept.append({**entry, "cause": _cause_of(entry, original[_question(entry)])})
    if missing := set(known) - seen:
        problems.report("missing_answer", f"{len(missing)} questions have no judged answer", len(missing))
    return kept


def _question(entry: Entry) -> tuple[str, ...]:
    return entry["category"], entry["subcategory"], entry["set_id"], entry["question_id"]


def _entry(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for name in (*PLACE, "visual_input", "gt_answer"):
        if row.get(name) is None:
            raise InputError(f"{where}: needs {name!r} (or give the official question file)")
        entry[name] = str(row[name])
    if entry["category"] not in ("VD", "VS") or entry["gt_answer"] not in ("0", "1"):
        raise InputError(f"{where}: the category is VD or VS and the answer 0 or 1, not as here")
    label = _label(row, where)
    same = row["same_reply"] if "same_reply" in row else row.get("same")
    if same is None or ("same_reply" in row and not isinstance(same, str)):
        raise InputError(f"{where}: needs 'same_reply', the judge's second reply, or 'same'")
    return {
        **entry,
        "truth": entry["gt_answer"] == "1",
        "label": label,
        "same": parse_same(same) if "same_reply" in row else str(same) == "1",
        "correct": label == RIGHT or (_without_figure(entry) and label == UNCLEAR),
    }


def _label(row: Mapping[str, Any], where: str) -> int:
    if isinstance(row.get("correctness_reply"), str):
        return parse_correctness(row["correctness_reply"])
    if str(row.get("correct")) in ("0", "1", "2"):
        return int(row["correct"])
    raise InputError(f"{where}: needs 'correctness_reply', the judge's first reply, or 'correct', 0, 1 or 2")


def _cause_of(entry: Entry, original: int) -> str | None:
    """What a wrong answer is put down to: language (LH), vision (VI) or both (Mixed), by the official table."""
    label = entry["label"]
    if entry["correct"]:
        return None
    if entry["category"] == "VD":
        kept = entry["figure_id"] != "0" and original == RIGHT and label == WRONG and entry["same"]
        return "Mixed" if kept else "VI"
    if entry["figure_id"] == "0":
        return "LH"
    if original == WRONG:
        return "LH" if label == WRONG and entry["same"] else "Mixed"
    if original == RIGHT and label == WRONG and entry["visual_input"] == "2" and entry["same"]:
        return "LH"
    return "VI"
