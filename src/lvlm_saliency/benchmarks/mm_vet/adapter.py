"""MM-Vet on the official files."""

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
class MmVet(JudgedBenchmark):
    """MM-Vet: 218 questions about 200 pictures, asked as they stand."""

    name: ClassVar[str] = "mm-vet"

    max_new_tokens: int | None = 1024

    @cached_property
    def questions(self) -> dict[str, dict[str, Any]]:
        path = find(self.name, "mm-vet", self.data)
        found = read_json(path)
        if not isinstance(found, dict):
            raise InputError(f"{path}: expected an object of questions by id")
        for name, row in found.items():
            if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("imagename", "question")):
                raise InputError(f"{path}: {name} needs imagename and question")
        return dict(list(found.items())[: self.n])

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [(name, row["imagename"], row["question"]) for name, row in self.questions.items()]

    def upload(self, texts: Mapping[int, str], label: str) -> tuple[str, str]:
        """The official result file: answers by question id."""
        answers = {self.items[index].id: text for index, text in texts.items()}
        return "answers.json", json.dumps(answers, ensure_ascii=False, indent=1) + "\n"
