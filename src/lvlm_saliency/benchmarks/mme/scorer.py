"""MME: pairs of yes/no questions on one image, in 14 tasks (Fu et al. 2023; docs/scorers.md, quirk 10).

Official source: BradyFU/Awesome-Multimodal-Large-Language-Models, branch Evaluation, `calculation.py` of
tools/eval_tool.zip. Each task is a text file of lines `image TAB question TAB truth TAB response`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError, SettingError, did_you_mean
from lvlm_saliency.files import decoded, read_bytes
from lvlm_saliency.files.records import Problems
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, Totals, ratio, tabulate

HALLUCINATION = ["existence", "count", "position", "color"]
PERCEPTION = [*HALLUCINATION, "posters", "celebrity", "scene", "landmark", "artwork", "OCR"]
COGNITION = ["commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"]
TASKS = [*PERCEPTION, *COGNITION]
GROUPS = {"perception": PERCEPTION, "cognition": COGNITION, "hallucination": HALLUCINATION}
COUNTS = ("images", "right", "both_right", "tp", "fn", "tn", "fp", "other")


def parse(response: str) -> str:
    """What `response` says, yes, no or other, by the first four characters of its lower case, blanks counted.

    So "know" and "none" are no, "  yes" (two blanks) is other, and so is "The answer is no".
    """
    start = response.lower()[:4]
    return "yes" if "yes" in start else "no" if "no" in start else "other"


def score(
    folder: str | Path,
    *,
    tasks: Collection[str] | None = None,
    errors: str = "raise",
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """MME of the answers in `folder`, one `<task>.txt` for each of the 14 tasks.

    Two successive lines belong to one image. `tasks`: only these. `errors`: "raise", or "skip" to leave out and count
    task files that are missing and images with a malformed line or whose two lines name different images; a sum over
    tasks is NaN where a task is missing. `bootstrap`: how intervals are drawn; images are redrawn within their task.

    Returns `tasks` (per task `acc`, `acc_plus`, `score` = 100 acc + 100 acc+, at most 200, `precision`, `recall` and
    counts, `other` answers being wrong but in no confusion count) and the sums `perception` (at most 2000),
    `cognition` (800) and `hallucination` (800; existence, count, position, color), `intervals`, `skipped`,
    `per_image`. Precision and recall without a case are NaN (officially 0). Raises `InputError`, `SettingError`.
    """
    wanted = list(TASKS) if tasks is None else [task for task in TASKS if task in tasks]
    if strange := sorted(set(tasks or ()) - set(TASKS)):
        raise SettingError(f"no MME task {strange[0]!r}{did_you_mean(strange[0], TASKS)}")
    problems = Problems(errors)
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; MME's layout is a folder with one text file per task")
    per_image = []
    for task in wanted:
        path = folder / f"{task}.txt"
        if path.is_file():
            per_image += _read_task(task, path, problems)
        else:
            problems.report("missing_task", f"{path}: the task's file is missing; name the tasks to score, or skip it")
    return _result(per_image, problems, bootstrap or Bootstrap())


def table(result: Mapping[str, Any]) -> CountTable:
    """The counts per image of a result of `score`: columns `task:count`, images drawn anew within their task."""
    present = list(dict.fromkeys(entry["task"] for entry in result["per_image"]))
    rows = (
        ((entry["task"], entry["image"], entry["line"]), {f"{entry['task']}:{name}": entry[name] for name in COUNTS})
        for entry in result["per_image"]
    )
    columns = [f"{task}:{name}" for task in present for name in COUNTS]
    figures = {task: _score_of(task) for task in present} | {
        group: _sum_of(members) for group, members in GROUPS.items() if set(members) <= set(present)
    }
    return tabulate(rows, columns, figures, stratum=lambda key: key[0])  # type: ignore[index]


def read_answers(path: str | Path) -> list[str]:
    """The lines of a task file. LF alone ends one, with or without a CR before it: a response may hold a CR."""
    return [line.removesuffix("\r") for line in decoded(read_bytes(path), path).split("\n")]


def _read_task(task: str, path: Path, problems: Problems) -> list[dict[str, Any]]:
    lines = read_answers(path)
    if lines[-1] == "":
        lines.pop()
    if not lines or len(lines) % 2:
        found = "an odd number of lines" if lines else "no line"
        problems.report("malformed", f"{path}:{len(lines)}: {found}, but every image has two questions")
    entries = []
    for first in range(0, len(lines) - 1, 2):
        one, two = (_read_line(lines[index], f"{path}:{index + 1}", problems) for index in (first, first + 1))
        if one is None or two is None:
            continue
        if one[0] != two[0]:
            problems.report("mismatched", f"{path}:{first + 2}: {two[0]} is paired with {one[0]}; lines out of order?")
        else:
            entries.append(_score_image(task, first + 1, one[0], [one[1:], two[1:]]))
    return entries


def _read_line(line: str, where: str, problems: Problems) -> tuple[str, str, str] | None:
    """Image, lower-case truth and parsed response of one line."""
    fields = line.split("\t")
    if len(fields) != 4:
        problems.report("malformed", f"{where}: {len(fields)} columns instead of image, question, truth, response")
        return None
    image, _, truth, response = fields
    if truth.lower() not in {"yes", "no"}:
        problems.report("malformed", f"{where}: the truth is {truth!r}, neither yes nor no")
        return None
    return image, truth.lower(), parse(response)


def _score_image(task: str, line: int, image: str, answers: list[tuple[str, str]]) -> dict[str, Any]:
    entry: dict[str, Any] = {"task": task, "image": image, "line": line, **dict.fromkeys(COUNTS, 0)}
    entry["images"] = 1
    for truth, said in answers:
        entry["right"] += truth == said
        if said == "other":
            entry["other"] += 1
        else:
            entry[("t" if truth == said else "f") + ("p" if said == "yes" else "n")] += 1
    entry["both_right"] = int(entry["right"] == 2)
    return entry


def _score_of(task: str) -> Any:
    def figure(total: Totals) -> np.ndarray:
        images = total[f"{task}:images"]
        return 100 * ratio(total[f"{task}:right"], 2 * images) + 100 * ratio(total[f"{task}:both_right"], images)

    return figure


def _sum_of(tasks: list[str]) -> Any:
    return lambda total: sum(_score_of(task)(total) for task in tasks)


def _result(per_image: list[dict[str, Any]], problems: Problems, bootstrap: Bootstrap) -> dict[str, Any]:
    counts = table({"per_image": per_image})
    values = counts.values()
    totals = dict(zip(counts.columns, counts.counts.sum(axis=0), strict=True))
    tasks = {
        task: _task_result({name: int(totals[f"{task}:{name}"]) for name in COUNTS}, values[task])
        for task in dict.fromkeys(entry["task"] for entry in per_image)
    }
    return {
        "benchmark": "mme",
        "tasks": tasks,
        **{group: values.get(group, float("nan")) for group in GROUPS},
        "intervals": bootstrap.intervals(counts),
        "bootstrap": bootstrap.settings(),
        "skipped": dict(problems.skipped),
        "per_image": per_image,
    }


def _task_result(counts: dict[str, int], value: float) -> dict[str, Any]:
    return {
        "score": value,
        "acc": float(ratio(counts["right"], 2 * counts["images"])),
        "acc_plus": float(ratio(counts["both_right"], counts["images"])),
        "precision": float(ratio(counts["tp"], counts["tp"] + counts["fp"])),
        "recall": float(ratio(counts["tp"], counts["tp"] + counts["fn"])),
        **counts,
    }
