"""MMVP before its judge: is the option that the answer names the right one?

Official source: tsb0601/MMVP `scripts/gpt_grader.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lvlm_saliency.benchmarks.mmvp.scorer import parse
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import place, read_rows
from lvlm_saliency.judge.one_reply import OneReply
from lvlm_saliency.judge.run import Asking, Item
from lvlm_saliency.judge.wording import Wording


class Judging(OneReply):
    parse = staticmethod(parse)
    model: ClassVar[str] = "gpt-4-0314"
    temperature: ClassVar[float | None] = 0.2
    max_tokens: ClassVar[int | None] = None
    slots: ClassVar[Mapping[str, Sequence[str]]] = {"system": (), "message": ("question", "truth", "answer")}
    official: ClassVar[Mapping[str, str]] = {
        "system": "64aabfce6d6c8e92a138154fb3641707d5e7654e14de6e0dc3db0eedc371bf52",
        "message": "27c7bfea470c3625638119d0ec1572692cc581e7951db34fae67bd6b05bd7017",
    }

    def items(self, answers: Path, data: Path | None) -> list[Item]:
        """Lines of `question_id`, `prompt`, `answer` (the right option) and `response`, in the official order."""
        rows = read_rows(answers)
        for index, row in enumerate(rows):
            if not all(isinstance(row.get(name), str) for name in ("prompt", "answer", "response")):
                raise InputError(f"{place(rows, index, 'answers')}: needs prompt, answer and response")
        return [Item(str(index), row) for index, row in enumerate(rows)]

    def judged(self, item: Item, wording: Wording, ask: Asking) -> dict[str, Any]:
        """The reply, word for word."""
        facts = item.facts
        slots = {"question": facts["prompt"], "truth": facts["answer"], "answer": facts["response"]}
        return {"reply": ask(wording.filled("message", **slots))}
