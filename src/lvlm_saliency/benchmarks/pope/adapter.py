"""POPE on the official question files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.benchmarks import hub, pope
from lvlm_saliency.benchmarks.base import Benchmark, Item, Pictures, Result, first_images
from lvlm_saliency.benchmarks.prompts import SHORT_ANSWER
from lvlm_saliency.benchmarks.scenes.adapter import score_by_category
from lvlm_saliency.benchmarks.sources import find
from lvlm_saliency.errors import InputError, SettingError, did_you_mean
from lvlm_saliency.files.records import Problems, place, read_rows

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS = ("random", "popular", "adversarial")


@dataclass(frozen=True)
class Pope(Benchmark):
    """POPE.

    Attributes:
        kinds: of negatives, joined by `/`.
        subset: coco, aokvqa or gqa.
        parser: official, opera or vcd.
    """

    name: ClassVar[str] = "pope"

    kinds: str = "/".join(KINDS)
    subset: str = "coco"
    parser: str = "official"

    def __post_init__(self) -> None:
        for kind in self.kinds.split("/"):
            if kind not in KINDS:
                raise SettingError(f"pope: no kind of negatives {kind!r}{did_you_mean(kind, KINDS)}")
        if self.parser not in pope.PARSERS:
            raise SettingError(f"pope: no parser {self.parser!r}{did_you_mean(self.parser, pope.PARSERS)}")

    @cached_property
    def hub(self) -> hub.HubData | None:
        return hub.opened(self.data, "lmms-lab/POPE", {"image", "image_source", "question", "answer", "category"})

    @cached_property
    def pictures(self) -> Pictures:
        return Pictures(self.images, self.name)

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for kind in self.kinds.split("/"):
            rows = _of_hub(self.hub, kind) if self.hub else self._of_file(kind)
            found += [{**row, "category": kind} for row in first_images(rows, "image", self.n)]
        return found

    def _of_file(self, kind: str) -> list[dict[str, Any]]:
        rows = read_rows(find(self.name, f"{self.subset}_pope_{kind}", self.data), Problems())
        for index, row in enumerate(rows):
            if not all(isinstance(row.get(key), str) for key in ("image", "text", "label")):
                raise InputError(f"{place(rows, index, 'questions')}: needs image, text and label")
        return rows

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [
            (f"{row['category']}/{row.get('question_id', index + 1)}", row["image"], row["text"] + SHORT_ANSWER)
            for index, row in enumerate(self.questions)
        ]

    def picture(self, item: Item) -> Image:
        return self.hub.picture("image_source", item.image) if self.hub else self.pictures.open(item.image)

    def picture_digest(self, item: Item) -> str:
        return self.hub.digest("image_source", item.image) if self.hub else self.pictures.digest(item.image)

    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        return score_by_category([self.questions[index] for index in texts], list(texts.values()), self.parser)

    def described(self) -> dict[str, Any]:
        return {**super().described(), "kinds": self.kinds, "subset": self.subset, "parser": self.parser}


def _of_hub(data: hub.HubData, kind: str) -> list[dict[str, Any]]:
    return [
        {"image": row["image_source"], "text": row["question"], "label": row["answer"]}
        for row in data.rows
        if row["category"] == kind
    ]
