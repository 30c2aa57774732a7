"""CHAIR on MS-COCO pictures."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.benchmarks import chair
from lvlm_saliency.benchmarks.base import Benchmark, Item, Pictures, Result, check_part, in_half, part
from lvlm_saliency.benchmarks.prompts import DESCRIBE
from lvlm_saliency.benchmarks.sources import find, has
from lvlm_saliency.errors import InputError, SettingError, did_you_mean
from lvlm_saliency.files.records import image_key, read_json, read_text
from lvlm_saliency.stats.bootstrap import Bootstrap

if TYPE_CHECKING:
    from PIL.Image import Image

SPLITS = ("all", "dev", "test")


@dataclass(frozen=True)
class Chair(Benchmark):
    """CHAIR.

    Attributes:
        variant: official or lemmatizer.
        image_list: file of the image ids to use, one a line, in their order.
        last_sentence: "keep", or "drop" that of a caption which the limit on new tokens cut off, as papers do that
            report CHAIR at 64 tokens.
        split: "all", or one of the halves "dev" and "test" (`base.in_half`).
        offset: pictures passed over before the first `n`.
    """

    name: ClassVar[str] = "chair"

    variant: str = "official"
    image_list: str | None = None
    split: str = "all"
    offset: int = 0
    last_sentence: str = "keep"

    def __post_init__(self) -> None:
        check_part(self, SPLITS)
        if self.last_sentence not in ("keep", "drop"):
            raise SettingError(f"chair: last_sentence must be keep or drop, got {self.last_sentence!r}")
        if self.variant not in chair.VARIANTS:
            raise SettingError(f"chair: no variant {self.variant!r}{did_you_mean(self.variant, chair.VARIANTS)}")

    @cached_property
    def pictures(self) -> Pictures:
        return Pictures(self.images, self.name)

    @cached_property
    def synonyms(self) -> chair.Synonyms:
        return chair.Synonyms.read(find(self.name, "synonyms", self.data))

    @cached_property
    def chosen(self) -> list[str]:
        """Image ids: those of the list, else all that have ground truth in a prepared file, else all pictures'."""
        if self.image_list is not None:
            lines = [line.strip() for line in read_text(self.image_list).split("\n")]
            ids = [image_key(line) or "" for line in lines if line]
        elif has(self.name, "objects", self.data):
            ids = [image_key(image) or "" for image in read_json(find(self.name, "objects", self.data))]
        else:
            folders = [self.pictures.folder / below for below in Pictures.SUBFOLDERS]
            names = sorted({path.name for folder in folders for path in folder.glob("COCO_val2014_*.jpg")})
            ids = [image_key(name) or "" for name in names]
        last = None if self.n is None else self.offset + self.n
        ids = [image for image in dict.fromkeys(ids) if in_half(self.split, image)][self.offset : last]
        if strange := [image for image in ids if not image.isdigit()]:
            raise InputError(f"chair: {strange[0]!r} is no number of a COCO image")
        if not ids:
            beyond = f" in {self.split} past number {self.offset}" if part(self, "all") else ""
            raise InputError(f"chair: no image to describe{beyond}; give --images with COCO's val2014 pictures")
        return ids

    @cached_property
    def objects(self) -> Mapping[str, Any]:
        if has(self.name, "objects", self.data):
            known: Mapping[Any, Any] = {
                image_key(image): words for image, words in read_json(find(self.name, "objects", self.data)).items()
            }
        else:
            splits = ("train2014", "val2014")
            known = chair.from_coco(
                [find(self.name, f"instances_{split}", self.data) for split in splits],
                [find(self.name, f"captions_{split}", self.data) for split in splits],
                self.synonyms,
                self.variant,
                images=self.chosen,
            )
        if missing := [image for image in self.chosen if image not in known]:
            raise InputError(f"chair: image {missing[0]} has no ground truth ({len(missing)} of {len(self.chosen)})")
        return {image: known[image] for image in self.chosen}

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [(image, f"COCO_val2014_{int(image):012d}.jpg", DESCRIBE) for image in self.chosen]

    def check(self) -> None:
        super().check()
        self.score({0: "a dog"})  # needs the synonyms, the ground truth, and NLTK's data under the lemmatizer

    def picture(self, item: Item) -> Image:
        return self.pictures.open(item.image)

    def present(self, item: Item) -> Collection[str]:
        return self.objects[item.id]

    def picture_digest(self, item: Item) -> str:
        return self.pictures.digest(item.image)

    def words(self) -> Path:
        return find(self.name, "synonyms", self.data)

    def captions(self) -> frozenset[int]:
        return frozenset(item.index for item in self.items)

    def texts(self, rows: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
        if self.last_sentence == "keep":
            return super().texts(rows)
        return {i: whole_sentences(r["text"]) if r["finish"] == "length" else r["text"] for i, r in rows.items()}

    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        captions = [{"image_id": self.items[index].id, "caption": text} for index, text in texts.items()]
        result = chair.score(captions, self.objects, self.synonyms, self.variant, bootstrap=Bootstrap(0))
        return {"captions": result}

    def described(self) -> dict[str, Any]:
        return {
            **super().described(),
            "variant": self.variant,
            "image_list": self.image_list and Path(self.image_list).name,
            **part(self, "all"),
            **({"last_sentence": self.last_sentence} if self.last_sentence != "keep" else {}),
        }


_ENDS = re.compile(r"""[.!?]+["')\u2019\u201d]*(?=\s|$)""")


def whole_sentences(text: str) -> str:
    """The text without its last sentence where that has no end; a text without any end stays as it is."""
    ends = [match.end() for match in _ENDS.finditer(text)]
    return text[: ends[-1]] if ends else text
