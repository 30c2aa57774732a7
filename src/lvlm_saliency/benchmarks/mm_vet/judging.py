"""MM-Vet before its judge: a mark from 0 to 1, asked for again, hotter each time, until the reply is one.

Official source: yuweihao/MM-Vet `mm-vet_evaluator.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lvlm_saliency.benchmarks.mm_vet.scorer import parse
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.json_lines import as_json, write_whole
from lvlm_saliency.files.records import read_json
from lvlm_saliency.judge.replay import Recorded, text_of
from lvlm_saliency.judge.run import Asking, Item
from lvlm_saliency.judge.wording import Wording

METADATA = "mm-vet.json"
HOTTER = (0.0, 0.5, 1.0, 1.5, 2.0)
"""The temperatures of the requests after the first: the last reply is kept, but never read."""


class Judging:
    model: ClassVar[str] = "gpt-4-0613"
    temperature: ClassVar[float | None] = 0.0
    max_tokens: ClassVar[int | None] = 3
    slots: ClassVar[Mapping[str, Sequence[str]]] = {"message": (), "retry": ()}
    official: ClassVar[Mapping[str, str]] = {
        "message": "d1b3e0a5b4e72c888b77164489d705bba4dd149934fff564dfba6443d81afe3f",
        "retry": "0c8f545a5726764a768a168c83f24dd9ccdfe6beaa109d5735c98836fb8e322e",
    }

    def items(self, answers: Path, data: Path | None) -> list[Item]:
        """Questions and ground truths of the official `mm-vet.json`, answers by its ids."""
        if data is None:
            raise InputError(f"mm-vet needs the official {METADATA}: give its folder with --data DIR")
        asked, written = read_json(data / METADATA), read_json(answers)
        if not isinstance(asked, dict) or not isinstance(written, dict):
            raise InputError(f"{answers}: expected an object of answers by question id, as {METADATA} has questions")
        found = []
        for name, entry in asked.items():
            if not isinstance(written.get(name), str):
                raise InputError(f"{answers}: no answer to {name}")
            if not isinstance(entry, dict) or not all(
                isinstance(entry.get(key), str) for key in ("question", "answer")
            ):
                raise InputError(f"{data / METADATA}: {name} needs question and answer")
            facts = {"question": entry["question"], "truth": entry["answer"], "answer": written[name]}
            found.append(Item(name, facts))
        return found

    def judged(self, item: Item, wording: Wording, ask: Asking) -> dict[str, Any]:
        """The mark and the part of the reply that it was read from; 0 after six replies without one."""
        text = message(item.facts, wording)
        reply = ask(text)
        for temperature in HOTTER:
            if (mark := parse(reply)) is not None:
                return {"content": reply.split(" ", maxsplit=1)[0].strip(), "score": mark, "exhausted": False}
            reply = ask(f"{text}\n{wording.texts['retry']}", temperature=temperature)
        return {"content": reply.split(" ", maxsplit=1)[0].strip(), "score": 0.0, "exhausted": True}

    def unparsable(self, record: Mapping[str, Any]) -> bool:
        """Whether no reply was a mark."""
        return bool(record["exhausted"])

    def recorded(self, path: Path, items: Sequence[Item]) -> Recorded:
        """Grade files: `content`, a list with an entry per run, by id."""
        grades = read_json(path)
        replies = {}
        for name, grade in grades.items() if isinstance(grades, dict) else ():
            for run, text in enumerate(grade.get("content", []) if isinstance(grade, dict) else []):
                replies[name, run, 0] = text_of(text, f"{path}, {name}")
        return Recorded(replies, str(path))

    def write(self, path: Path, items: Sequence[Item], runs: Sequence[Mapping[str, dict[str, Any]]]) -> None:
        """The official grade file: an entry per run in every list."""
        grades = {
            item.id: {
                "model": [self.model for _ in runs],
                "content": [records[item.id]["content"] for records in runs],
                "score": [records[item.id]["score"] for records in runs],
            }
            for item in items
        }
        write_whole(path, as_json(grades, indent=4) + "\n")


def message(facts: Mapping[str, Any], wording: Wording) -> str:
    """The official text, then a row of its table with an open last cell."""
    truth = facts["truth"].replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    return wording.texts["message"] + "\n" + " | ".join([facts["question"], truth, facts["answer"], ""])
