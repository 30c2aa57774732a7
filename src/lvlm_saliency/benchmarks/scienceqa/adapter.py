"""ScienceQA on the official files: questions about a picture, and about none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from lvlm_saliency.benchmarks import scienceqa
from lvlm_saliency.benchmarks.base import PictureFiles, Result, answer_lines
from lvlm_saliency.benchmarks.prompts import OPTION_LETTER
from lvlm_saliency.benchmarks.sources import find
from lvlm_saliency.errors import InputError, SettingError, did_you_mean
from lvlm_saliency.files.records import read_json
from lvlm_saliency.stats.bootstrap import Bootstrap


@dataclass(frozen=True)
class ScienceQa(PictureFiles):
    """ScienceQA.

    Attributes:
        split: a list of `pid_splits.json`.
        images_only: without the questions that have no picture.
        variant: "normal" reads from the problem whether it has a picture, "llava" as LLaVA's script.
    """

    name: ClassVar[str] = "scienceqa"

    max_new_tokens: int | None = 1024
    split: str = "test"
    images_only: bool = False
    variant: str = "normal"

    def __post_init__(self) -> None:
        if self.variant not in scienceqa.VARIANTS:
            known = scienceqa.VARIANTS
            raise SettingError(f"scienceqa: no variant {self.variant!r}{did_you_mean(str(self.variant), known)}")

    @cached_property
    def problems(self) -> dict[str, dict[str, Any]]:
        """The problems of the split, in its order."""
        known, lists = (read_json(find(self.name, stem, self.data)) for stem in ("problems", "pid_splits"))
        ids = lists.get(self.split) if isinstance(lists, dict) else None
        if not isinstance(ids, list) or not isinstance(known, dict):
            near = did_you_mean(str(self.split), lists) if isinstance(lists, dict) else ""
            raise InputError(f"scienceqa: no list of questions named {self.split!r}{near}")
        found = {}
        for name in map(str, ids):
            problem = known.get(name)
            if not isinstance(problem, dict) or not isinstance(problem.get("choices"), list):
                raise InputError(f"scienceqa: problem {name} of {self.split} is not in problems.json, or damaged")
            if problem.get("image") or not self.images_only:
                found[name] = problem
        return dict(list(found.items())[: self.n])

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [
            (name, f"{name}/{problem['image']}" if problem.get("image") else "", question(problem) + OPTION_LETTER)
            for name, problem in self.problems.items()
        ]

    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        answers = [
            {"question_id": item.id, "prompt": "<image>" if item.image else "", "text": text}
            for item, text in ((self.items[index], text) for index, text in texts.items())
        ]
        ids = [answer["question_id"] for answer in answers]
        return {"answers": scienceqa.score(self.problems, ids, answers, self.variant, bootstrap=Bootstrap(0))}

    def upload(self, texts: Mapping[int, str], label: str) -> tuple[str, str]:
        return "answers.jsonl", answer_lines(self, texts, label, str)

    def described(self) -> dict[str, Any]:
        settings = {name: getattr(self, name) for name in ("split", "images_only", "variant")}
        return {**super().described(), **settings}


def question(problem: Mapping[str, Any]) -> str:
    """The text as LLaVA's question file has it: context, question, options by letter."""
    hint = str(problem.get("hint") or "").strip()
    options = [f"{letter}. {text}" for letter, text in zip("ABCDE", problem["choices"], strict=False)]
    lines = [*([f"Context: {hint}"] if hint else []), str(problem["question"]), *options]
    return "\n".join(lines).replace("  ", " ")
