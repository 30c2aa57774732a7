"""LLaVA-Bench (in the wild) on the official files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from lvlm_saliency.benchmarks.base import JudgedBenchmark, answer_lines, texts_of
from lvlm_saliency.benchmarks.sources import find
from lvlm_saliency.files.records import read_rows


@dataclass(frozen=True)
class LlavaBench(JudgedBenchmark):
    """LLaVA-Bench (in the wild): 60 questions about 24 pictures, asked as they stand."""

    name: ClassVar[str] = "llava-bench"

    max_new_tokens: int | None = 1024

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        found = read_rows(find(self.name, "questions", self.data))
        return texts_of(found, ("image", "text"), "questions")[: self.n]

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [(str(row.get("question_id", i)), row["image"], row["text"]) for i, row in enumerate(self.questions)]

    def upload(self, texts: Mapping[int, str], label: str) -> tuple[str, str]:
        return "answers.jsonl", answer_lines(self, texts, label)
