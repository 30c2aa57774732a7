"""VizWiz on the official files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from lvlm_saliency.benchmarks import vizwiz
from lvlm_saliency.benchmarks.base import PictureFiles, Result, texts_of
from lvlm_saliency.benchmarks.prompts import VIZWIZ
from lvlm_saliency.benchmarks.sources import find
from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.files.records import read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap

SPLITS = ("val", "train", "test")


@dataclass(frozen=True)
class VizWiz(PictureFiles):
    """VizWiz.

    Attributes:
        split: val or train, which are scored here, or test, whose answers go to the upload server.
        variant: vizwiz_api, or llava_m4c as LLaVA and lmms-eval score.
    """

    name: ClassVar[str] = "vizwiz"

    max_new_tokens: int | None = 128
    split: str = "val"
    variant: str = "vizwiz_api"

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise SettingError(f"vizwiz: no split {self.split!r}{did_you_mean(str(self.split), SPLITS)}")
        if self.variant not in vizwiz.VARIANTS:
            raise SettingError(f"vizwiz: no variant {self.variant!r}{did_you_mean(str(self.variant), vizwiz.VARIANTS)}")

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        found = read_rows(find(self.name, self.split, self.data))
        return texts_of(found, ("image", "question"), "questions")[: self.n]

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [(row["image"], row["image"], row["question"] + VIZWIZ) for row in self.questions]

    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        if self.split == "test":
            return {}
        asked = [self.questions[index] for index in texts]
        answers = [{"image": row["image"], "answer": text} for row, text in zip(asked, texts.values(), strict=True)]
        return {"answers": vizwiz.score(asked, answers, self.variant, bootstrap=Bootstrap(0))}

    def upload(self, texts: Mapping[int, str], label: str) -> tuple[str, str]:
        """What the upload server takes: each answer as LLaVA normalises it."""
        rows = [
            {"image": self.items[index].image, "answer": vizwiz.normalise(text, "llava_m4c")}
            for index, text in texts.items()
        ]
        return "upload.json", json.dumps(rows, ensure_ascii=False, indent=1) + "\n"

    def described(self) -> dict[str, Any]:
        return {**super().described(), "split": self.split, "variant": self.variant}
