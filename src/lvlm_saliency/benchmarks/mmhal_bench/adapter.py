"""MMHal-Bench on the official template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from lvlm_saliency.benchmarks.base import JudgedBenchmark
from lvlm_saliency.benchmarks.sources import find
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import read_json


@dataclass(frozen=True)
class MmhalBench(JudgedBenchmark):
    """MMHal-Bench: 96 questions, asked as they stand. Its pictures are those that users download from the addresses in
    the template, under the last part of each address."""

    name: ClassVar[str] = "mmhal-bench"

    max_new_tokens: int | None = 1024

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        path = find(self.name, "response_template", self.data)
        found = read_json(path)
        if not isinstance(found, list):
            raise InputError(f"{path}: expected the list of the official response template")
        for number, row in enumerate(found, 1):
            if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("image_src", "question")):
                raise InputError(f"{path}, entry {number}: needs image_src and question")
        return found[: self.n]

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [
            (str(index), row["image_src"].rpartition("/")[2], row["question"])
            for index, row in enumerate(self.questions)
        ]

    def upload(self, texts: Mapping[int, str], label: str) -> tuple[str, str]:
        """The official template, with the answers in it."""
        filled = [{**self.questions[index], "model_answer": text} for index, text in texts.items()]
        return "answers.json", json.dumps(filled, ensure_ascii=False, indent=1) + "\n"
