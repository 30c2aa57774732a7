"""Self-check by question: the model is asked whether the object is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class SelfCheck(Detector):
    """log p(no) - log p(yes) at the first token of the answer to "Is there a/an <object> in the image?" (every way to
    write yes and no that the tokenizer has as one token). All mentions of an object share it; 0 is not the right
    threshold.

    Source: POPE's question (arXiv 2305.10355) used as a score; peter-scitix/lvlm-hallucination-grounding@0f3006d asks
    for a single word besides, always with "a".
    """

    name: ClassVar[str] = "self-check"
    title: ClassVar[str] = "self-check by a question"
    paper: ClassVar[str] = "arXiv 2305.10355"
    passes: ClassVar[str] = "one short pass per object"
    granularity: ClassVar[str] = "object"
    places: ClassVar[tuple[str, ...]] = ("question",)

    where: str = field(default="question", kw_only=True)

    def needs(self, depth: Depth) -> Needs:
        return Needs(extra=frozenset(["self-check"]))

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return answer_of(reading, mention)


def answer_of(reading: Reading, mention: Mention) -> float:
    """log p(no) - log p(yes) about the object of a mention; NaN where the model was not asked."""
    answers = reading.part("extra", "self-check", "answers to questions")
    return float(answers.get(mention.name, float("nan")))
