"""HallusionBench before its judge: is the answer right, and does it agree with the answer about the original figure?

Official source: tianyi-lab/HallusionBench `evaluation.py` and `utils.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lvlm_saliency.benchmarks.hallusionbench.scorer import PLACE
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.json_lines import as_json, write_whole
from lvlm_saliency.files.records import read_rows
from lvlm_saliency.judge.replay import Recorded
from lvlm_saliency.judge.run import Asking, Item
from lvlm_saliency.judge.wording import Wording

QUESTIONS = "HallusionBench.json"
REPLIES = ("correctness_reply", "same_reply")


class Judging:
    model: ClassVar[str] = "gpt-4"
    temperature: ClassVar[float | None] = None
    max_tokens: ClassVar[int | None] = None
    slots: ClassVar[Mapping[str, Sequence[str]]] = {
        "correctness": ("question", "reference", "answer"),
        "same": ("first", "second"),
    }
    official: ClassVar[Mapping[str, str]] = {
        "correctness": "21bb81e23996c4d97f1eda2e573c5c624db63ad007b432074c6ff3da1ac325e4",
        "same": "2f8503339d8576344fe3a113a2bd13a05132d6d22710294f97fd8c41c4985ddd",
    }

    def items(self, answers: Path, data: Path | None) -> list[Item]:
        """Entries with `model_prediction`; the official file fills in what they do not repeat."""
        known = {_key(row): row for row in read_rows(data / QUESTIONS)} if data is not None else {}
        rows = [{**known.get(_key(row), {}), **row} for row in read_rows(answers)]
        needed = (*PLACE, "question", "gt_answer_details", "model_prediction")
        for row in rows:
            if lacking := [name for name in needed if row.get(name) is None]:
                raise InputError(
                    f"{answers}: {_name(row)} lacks {lacking[0]!r}; give the folder of {QUESTIONS} as --data"
                )
        original = {_asked(row): row["model_prediction"] for row in rows if str(row["figure_id"]) == "0"}
        for row in rows:
            if _asked(row) not in original:
                raise InputError(f"{answers}: {_name(row)} has no answer at figure 0 to be set beside")
        return [Item(_name(row), {"row": row, "original": original[_asked(row)]}) for row in rows]

    def judged(self, item: Item, wording: Wording, ask: Asking) -> dict[str, Any]:
        """Both replies, word for word."""
        row = item.facts["row"]
        right = ask(
            wording.filled(
                "correctness",
                question=row["question"],
                reference=row["gt_answer_details"],
                answer=row["model_prediction"],
            )
        )
        same = ask(wording.filled("same", first=row["model_prediction"], second=item.facts["original"]))
        return dict(zip(REPLIES, (right, same), strict=True))

    def unparsable(self, record: Mapping[str, Any]) -> bool:
        """Never: every reply is read as one of the judgements."""
        return False

    def recorded(self, path: Path, items: Sequence[Item]) -> Recorded:
        """Entries with both replies."""
        replies = {}
        for row in read_rows(path):
            for turn, name in enumerate(REPLIES):
                if isinstance(row.get(name), str):
                    replies[_name(row), 0, turn] = row[name]
        return Recorded(replies, str(path))

    def write(self, path: Path, items: Sequence[Item], runs: Sequence[Mapping[str, dict[str, Any]]]) -> None:
        """JSON lines: the entries with both replies of the first run."""
        write_whole(path, "".join(as_json({**item.facts["row"], **runs[0][item.id]}) + "\n" for item in items))


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row.get(part)) for part in PLACE)


def _name(row: Mapping[str, Any]) -> str:
    return "/".join(_key(row))


def _asked(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a question's figures share."""
    return tuple(str(row[part]) for part in PLACE if part != "figure_id")
