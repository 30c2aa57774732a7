"""LLaVA-Bench before its judge: a reference answer beside the model's, with a description of the picture in its place.

Official source: haotian-liu/LLaVA `eval_gpt_review_bench.py`. What the judge is told for each category stands in the
official `rule.json`, which users have; the system message goes into the wording file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lvlm_saliency.benchmarks.llava_bench.scorer import FAILED, parse
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.json_lines import as_json, write_whole
from lvlm_saliency.files.records import read_json, read_rows
from lvlm_saliency.judge.replay import Recorded
from lvlm_saliency.judge.run import Asking, Item
from lvlm_saliency.judge.wording import Wording

QUESTIONS, CONTEXT, REFERENCE, RULE = "questions.jsonl", "context.jsonl", "answers_gpt4.jsonl", "rule.json"


class Judging:
    model: ClassVar[str] = "gpt-4-0314"
    temperature: ClassVar[float | None] = 0.2
    max_tokens: ClassVar[int | None] = 1024
    slots: ClassVar[Mapping[str, Sequence[str]]] = {"system": ()}
    official: ClassVar[Mapping[str, str]] = {
        "system": "8ec001fd8f1a623f9e444c9eca7be1cc3ee529003e931167a1b44958132baf33"
    }

    def items(self, answers: Path, data: Path | None) -> list[Item]:
        """Questions, descriptions, reference answers and rules from the official files, answers by `question_id`."""
        if data is None:
            raise InputError(f"llava-bench needs {QUESTIONS}, {CONTEXT}, {REFERENCE} and {RULE}: give --data DIR")
        rules = read_json(data / RULE)
        described = {row.get("image"): row.get("caption") for row in read_rows(data / CONTEXT)}
        references = {row.get("question_id"): row for row in read_rows(data / REFERENCE)}
        written = {row.get("question_id"): row for row in read_rows(answers)}
        found = []
        for question in read_rows(data / QUESTIONS):
            number = question.get("question_id")
            category = f"llava_bench_{question.get('category')}"
            rule = rules.get(category) if isinstance(rules, dict) else None
            where = f"question {number}"
            if not isinstance(rule, dict) or not all(isinstance(rule.get(name), str) for name in ("role", "prompt")):
                raise InputError(f"{data / RULE}: no role and prompt for {category}")
            caption = described.get(question.get("image"))
            facts = {
                "category": category,
                "question_id": number,
                "context": "\n".join(caption) if isinstance(caption, list) else caption,
                "question": question.get("text"),
                "reference": references.get(number, {}).get("text"),
                "answer": written.get(number, {}).get("text"),
                "ids": (references.get(number, {}).get("answer_id"), written.get(number, {}).get("answer_id")),
                **{name: rule[name] for name in ("role", "prompt")},
            }
            for name in ("context", "question", "reference", "answer"):
                if not isinstance(facts[name], str):
                    raise InputError(f"{where}: no {name}")
            found.append(Item(str(number), facts))
        return found

    def judged(self, item: Item, wording: Wording, ask: Asking) -> dict[str, Any]:
        """The reply and the two marks in its first line."""
        reply = ask(message(item.facts))
        return {"content": reply, "tuple": list(parse(reply))}

    def unparsable(self, record: Mapping[str, Any]) -> bool:
        """Whether the reply's first line is not two marks."""
        return parse(record["content"]) == FAILED

    def recorded(self, path: Path, items: Sequence[Item]) -> Recorded:
        """Review lines: `content` by `question_id`."""
        rows = read_rows(path)
        return Recorded({(str(row.get("question_id")), 0, 0): row["content"] for row in rows}, str(path))

    def write(self, path: Path, items: Sequence[Item], runs: Sequence[Mapping[str, dict[str, Any]]]) -> None:
        """Review lines. The official script reads a file per run: further runs go to `NAME_2.jsonl`, `NAME_3.jsonl`."""
        for run, records in enumerate(runs):
            file = path if not run else path.with_name(f"{path.stem}_{run + 1}{path.suffix}")
            lines = []
            for index, item in enumerate(items, 1):
                first, second = item.facts["ids"]
                row = {
                    "id": index,
                    "question_id": item.facts["question_id"],
                    "answer1_id": first,
                    "answer2_id": second,
                    "category": item.facts["category"],
                    **records[item.id],
                }
                lines.append(as_json(row) + "\n")
            write_whole(file, "".join(lines))


def message(facts: Mapping[str, Any]) -> str:
    """The user message: named blocks, in the official order."""
    role = facts["role"]
    blocks = [
        ("Context", facts["context"]),
        ("Question", facts["question"]),
        (f"{role} 1", f"{facts['reference']}\n\n[End of {role} 1]"),
        (f"{role} 2", f"{facts['answer']}\n\n[End of {role} 2]"),
        ("System", facts["prompt"]),
    ]
    return "".join(f"[{name}]\n{text}\n\n" for name, text in blocks)
