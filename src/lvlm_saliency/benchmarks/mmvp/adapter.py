"""MMVP on the official table of questions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from lvlm_saliency.benchmarks.base import JudgedBenchmark
from lvlm_saliency.benchmarks.sources import folder
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import read_text

FILE = "Questions.csv"


@dataclass(frozen=True)
class Mmvp(JudgedBenchmark):
    """MMVP: 150 pairs of pictures with one question each. `n` counts pairs."""

    name: ClassVar[str] = "mmvp"

    max_new_tokens: int | None = 1024

    @cached_property
    def questions(self) -> list[dict[str, str]]:
        path = folder(self.name, self.data) / FILE
        rows = list(csv.DictReader(io.StringIO(read_text(path))))
        for number, row in enumerate(rows, 1):
            if not all(row.get(name) for name in ("Question", "Options", "Correct Answer")):
                raise InputError(f"{path}, row {number}: needs Question, Options and Correct Answer")
        if len(rows) % 2:
            raise InputError(f"{path}: {len(rows)} questions, and they come in pairs")
        return rows[: None if self.n is None else 2 * self.n]

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [
            (str(number), f"{number}.jpg", f"{row['Question']} {row['Options']}")
            for number, row in enumerate(self.questions, 1)
        ]

    def upload(self, texts: Mapping[int, str], label: str) -> tuple[str, str]:
        """Lines of `question_id`, `prompt`, `answer` (the right option) and `response`."""
        rows = [
            {
                "question_id": int(self.items[index].id),
                "prompt": self.items[index].prompt,
                "answer": self.questions[index]["Correct Answer"],
                "response": text,
            }
            for index, text in texts.items()
        ]
        return "answers.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
