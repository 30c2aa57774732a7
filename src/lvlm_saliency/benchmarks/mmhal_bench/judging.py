"""MMHal-Bench before its judge: a rating of each of 96 answers.

Official source: llava-rlhf/LLaVA-RLHF `eval_gpt_mmhal.py`. The judge's text is under a licence that keeps it out of
this package: users take it from the data set's own page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lvlm_saliency.benchmarks.mmhal_bench.scorer import parse
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import read_json
from lvlm_saliency.judge.one_reply import OneReply
from lvlm_saliency.judge.run import Asking, Item
from lvlm_saliency.judge.wording import Wording


class Judging(OneReply):
    parse = staticmethod(parse)
    model: ClassVar[str] = "gpt-4-0314"
    temperature: ClassVar[float | None] = 0.0
    max_tokens: ClassVar[int | None] = None
    slots: ClassVar[Mapping[str, Sequence[str]]] = {"message": ("objects", "question", "truth", "answer")}
    official: ClassVar[Mapping[str, str]] = {
        "message": "2008222e717fed93fbd3447fbbf0c3e409f260597bd45e50b58b0b7aad017146"
    }

    def items(self, answers: Path, data: Path | None) -> list[Item]:
        """The official template with `model_answer` filled in, in its order."""
        rows = read_json(answers)
        if not isinstance(rows, list) or not rows:
            raise InputError(f"{answers}: expected the list of the official response template, answers filled in")
        found = []
        for index, row in enumerate(rows):
            names = ("question", "gt_answer", "model_answer")
            if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in names):
                raise InputError(f"{answers}, entry {index + 1}: needs question, gt_answer and model_answer")
            if not isinstance(row.get("image_content"), list) or not all(
                isinstance(o, str) for o in row["image_content"]
            ):
                raise InputError(f"{answers}, entry {index + 1}: needs image_content, a list of texts")
            if not row["model_answer"]:
                raise InputError(f"{answers}, entry {index + 1}: model_answer is empty")
            found.append(Item(str(index), row))
        return found

    def judged(self, item: Item, wording: Wording, ask: Asking) -> dict[str, Any]:
        """The reply, word for word."""
        facts = item.facts
        text = wording.filled(
            "message",
            objects=", ".join(facts["image_content"]),
            question=facts["question"],
            truth=facts["gt_answer"],
            answer=facts["model_answer"],
        )
        return {"reply": ask(text)}
