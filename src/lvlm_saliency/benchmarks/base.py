"""What a benchmark is to a run: items with fixed prompts, pictures, and a way to score what was written."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.errors import InputError, SettingError, did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

Result = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """One question about one picture. `index` counts from 0 and names the item to seeded methods; `image` names the
    picture, different pictures differently."""

    index: int
    id: str
    image: str
    prompt: str


@dataclass(frozen=True)
class Benchmark(ABC):
    """A benchmark, opened. A subclass's further fields are its own settings.

    n: pictures, the first of the list; None for all. images: folder of the pictures. data: folder of the official
    files.
    """

    name: ClassVar[str]

    n: int | None = None
    images: str | Path | None = None
    data: str | Path | None = None

    @cached_property
    def items(self) -> list[Item]:
        """Every item, in the benchmark's own order. InputError names a file that is missing or cannot be used."""
        return [Item(index, *rest) for index, rest in enumerate(self.rows())]

    @abstractmethod
    def rows(self) -> Sequence[tuple[str, str, str]]:
        """(id, image, prompt) of every item."""

    @abstractmethod
    def picture(self, item: Item) -> Image:
        """The item's picture. ImageError when it is missing or broken."""

    @abstractmethod
    def picture_digest(self, item: Item) -> str:
        """SHA-256 of the picture (of its file where it comes from one). ImageError when it is missing."""

    @abstractmethod
    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        """The scorer's result for each part of the benchmark, from the answers by item index."""

    def check(self) -> None:
        """Raise before a model runs what would only be missed when its answers are scored."""
        if not self.items:
            raise InputError(f"{self.name}: no items; the files hold no question")

    def present(self, item: Item) -> Collection[str] | None:
        """Canonical names of the objects in the item's picture, None where the benchmark does not say: what an oracle
        that decides in a method's place goes by."""
        return None

    def captions(self) -> frozenset[int]:
        """Indices of the items whose answers are descriptions: the length-matched control applies to those."""
        return frozenset()

    def described(self) -> dict[str, Any]:
        """The settings that decide what is asked and how it is scored, for the run's configuration."""
        return {"name": self.name, "n": self.n}


class Pictures:
    """Pictures in a folder, by file name, in the sub-folders where the official archives put them."""

    SUBFOLDERS = ("", "val2014", "images", "image", "images/val2014")

    def __init__(self, folder: str | Path | None, benchmark: str):
        if folder is None:
            raise InputError(f"{benchmark} needs its pictures: give their folder with --images DIR")
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"{benchmark}: {folder} is no folder; give the folder of its pictures with --images DIR")

    def path(self, name: str) -> Path:
        """Where the picture is (or would be)."""
        for below in self.SUBFOLDERS:
            if (path := self.folder / below / name).is_file():
                return path
        return self.folder / name

    def open(self, name: str) -> Image:
        from lvlm_saliency.model.images import open_image

        return open_image(self.path(name))

    def digest(self, name: str) -> str:
        from lvlm_saliency.errors import ImageError

        try:
            with self.path(name).open("rb") as file:
                return _hash(file)
        except OSError as error:
            raise ImageError(f"cannot read picture {str(self.path(name))!r}: {error.strerror or error}") from error


def _hash(file: Any) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def first_images(rows: Sequence[Mapping[str, Any]], key: str, n: int | None) -> list[Mapping[str, Any]]:
    """The rows of the first `n` pictures, in their order."""
    chosen = list(dict.fromkeys(row[key] for row in rows))[:n]
    keep = set(chosen)
    return [row for row in rows if row[key] in keep]


def in_half(split: str, key: str) -> bool:
    """Whether the picture `key` belongs to `split`: "dev", "test", or "all" for every one.

    A hash of the key alone decides (SHA-256, last bit), so that the halves stay what they are whatever list a picture
    stands in, and settings that were chosen on one of them have never seen the other.
    """
    half = hashlib.sha256(f"half {key}".encode()).digest()[-1] & 1
    return split == "all" or half == (split == "dev")


def check_part(benchmark: Any, splits: Sequence[str]) -> None:
    """SettingError for a `split` that is none of these or an `offset` that is no whole number from 0."""
    if benchmark.split not in splits:
        close = did_you_mean(str(benchmark.split), splits)
        raise SettingError(f"{benchmark.name}: no split {benchmark.split!r}{close}")
    if not isinstance(benchmark.offset, int) or isinstance(benchmark.offset, bool) or benchmark.offset < 0:
        raise SettingError(f"{benchmark.name}: offset must be a whole number from 0, got {benchmark.offset!r}")


def part(benchmark: Any, usual: str) -> dict[str, Any]:
    """`split` and `offset` where they are not the usual ones: a run that knows neither is still the same run."""
    told = {"split": benchmark.split} if benchmark.split != usual else {}
    return told | ({"offset": benchmark.offset} if benchmark.offset else {})
