"""HallusionBench on the official file: questions about pictures, edited pictures, and none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from lvlm_saliency.benchmarks.base import JudgedBenchmark, texts_of
from lvlm_saliency.benchmarks.hallusionbench.scorer import PLACE
from lvlm_saliency.benchmarks.sources import find
from lvlm_saliency.files.records import read_rows


@dataclass(frozen=True)
class HallusionBench(JudgedBenchmark):
    """HallusionBench. `n` counts questions. images_only: without the questions that have no picture."""

    name: ClassVar[str] = "hallusionbench"

    max_new_tokens: int | None = 512
    images_only: bool = False

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        """First what depends on the picture (VD), then what a picture supplements (VS), as officially judged."""
        found = texts_of(read_rows(find(self.name, "HallusionBench", self.data)), (*PLACE, "question"), "questions")
        kept = [row for row in found if row.get("filename") or not self.images_only]
        return [row for kind in ("VD", "VS") for row in kept if row["category"] == kind][: self.n]

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [
            ("/".join(row[part] for part in PLACE), (row.get("filename") or "").removeprefix("./"), row["question"])
            for row in self.questions
        ]

    def described(self) -> dict[str, Any]:
        return {**super().described(), "images_only": self.images_only}

    def upload(self, texts: Mapping[int, str], label: str) -> tuple[str, str]:
        """The official entries, with `model_prediction` in them."""
        rows = [{**self.questions[index], "model_prediction": text} for index, text in texts.items()]
        return "answers.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
