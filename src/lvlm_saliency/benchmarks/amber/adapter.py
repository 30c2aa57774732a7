"""AMBER on the official files: descriptions, and yes/no questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.benchmarks import amber
from lvlm_saliency.benchmarks.base import Benchmark, Item, Pictures, Result, first_images
from lvlm_saliency.benchmarks.prompts import SHORT_ANSWER
from lvlm_saliency.benchmarks.sources import find
from lvlm_saliency.errors import InputError, SettingError, did_you_mean
from lvlm_saliency.files.records import Problems, place, read_json, read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap

if TYPE_CHECKING:
    from PIL.Image import Image

PARTS = {
    "generative": ["query_generative"],
    "discriminative": ["query_discriminative"],
    "existence": ["query_discriminative-existence"],
    "attribute": ["query_discriminative-attribute"],
    "relation": ["query_discriminative-relation"],
}
SIMILARITIES = ("spacy", "equal")


@dataclass(frozen=True)
class Amber(Benchmark):
    """AMBER.

    Attributes:
        parts: generative, discriminative, existence, attribute, relation, joined by `/`.
        similarity: spacy (official, needs its vectors) or equal (equal words only).
    """

    name: ClassVar[str] = "amber"

    parts: str = "generative/discriminative"
    similarity: str = "spacy"

    def __post_init__(self) -> None:
        for part in self.parts.split("/"):
            if part not in PARTS:
                raise SettingError(f"amber: no part {part!r}{did_you_mean(part, PARTS)}")
        if self.similarity not in SIMILARITIES:
            raise SettingError(f"amber: no similarity {self.similarity!r}{did_you_mean(self.similarity, SIMILARITIES)}")

    @cached_property
    def pictures(self) -> Pictures:
        return Pictures(self.images, self.name)

    @cached_property
    def queries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for part in self.parts.split("/"):
            for stem in PARTS[part]:
                rows = read_rows(find(self.name, stem, self.data), Problems())
                for index, row in enumerate(rows):
                    if not isinstance(row.get("id"), int) or not all(
                        isinstance(row.get(k), str) for k in ("image", "query")
                    ):
                        raise InputError(f"{place(rows, index, 'queries')}: needs id, image and query")
                described = part == "generative"
                found += [{**row, "description": described} for row in first_images(rows, "image", self.n)]
        return found

    @cached_property
    def annotations(self) -> Any:
        return read_json(find(self.name, "annotations", self.data))

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [
            (str(row["id"]), row["image"], row["query"] if row["description"] else row["query"] + SHORT_ANSWER)
            for row in self.queries
        ]

    def check(self) -> None:
        super().check()
        self.score({index: "A dog." for index in sorted({0, len(self.items) - 1})})  # needs every file, NLTK and spaCy

    def picture(self, item: Item) -> Image:
        return self.pictures.open(item.image)

    def picture_digest(self, item: Item) -> str:
        return self.pictures.digest(item.image)

    def captions(self) -> frozenset[int]:
        return frozenset(index for index, row in enumerate(self.queries) if row["description"])

    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        results: dict[str, Result] = {}
        responses: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for index, text in texts.items():
            row = self.queries[index]
            responses[row["description"]].append({"id": row["id"], "response": text})
        if responses[True]:
            results["generative"] = amber.score_generative(
                responses[True],
                self.annotations,
                find(self.name, "relation", self.data),
                find(self.name, "safe_words", self.data),
                amber.identical if self.similarity == "equal" else None,
                bootstrap=Bootstrap(0),
            )
        if responses[False]:
            results["discriminative"] = amber.score_discriminative(
                responses[False],
                self.annotations,
                images={row["id"]: row["image"] for row in self.queries},
                bootstrap=Bootstrap(0),
            )
        return results

    def described(self) -> dict[str, Any]:
        return {**super().described(), "parts": self.parts, "similarity": self.similarity}
