"""LPFV: the probability that the model names the object when asked for any element of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading

QUESTION = "Describe any element of the image with only one word or phrase."


@dataclass(frozen=True)
class LPFV(Detector):
    """-sum over the tokens of the object's name, capitalised, of its log-probability as the answer to "Describe any
    element of the image with only one word or phrase.". No text stands before it that a language prior could continue.

    The released code measures probabilities after the generation settings' warpers, which set most to zero; here they
    are the model's own. All mentions of an object share the score; it favours salient objects.

    Paper: SelfVal, arXiv 2601.22451; its code at 4147ca2.
    """

    name: ClassVar[str] = "lpfv"
    title: ClassVar[str] = "language-prior-free verification"
    paper: ClassVar[str] = "arXiv 2601.22451"
    passes: ClassVar[str] = "one short pass, and one per object of several tokens"
    granularity: ClassVar[str] = "object"
    places: ClassVar[tuple[str, ...]] = ("question",)

    where: str = field(default="question", kw_only=True)

    def needs(self, depth: Depth) -> Needs:
        return Needs(extra=frozenset(["lpfv"]))

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        found = reading.part("extra", "lpfv", "answers to the question about any element")
        return -float(found.get(mention.name, float("nan")))
