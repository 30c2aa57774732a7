"""The base class of benchmarks that `evaluate` runs: items with fixed prompts, pictures, and a way to score answers."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.errors import InputError, SettingError, did_you_mean
from lvlm_saliency.files.records import place

if TYPE_CHECKING:
    from PIL.Image import Image

Result = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """One question about one picture, or about none. `index` counts from 0, and seeded draws depend on it; `image` is a
    name that is unique to the picture, "" where there is none."""

    index: int
    id: str
    image: str
    prompt: str


@dataclass(frozen=True)
class Benchmark(ABC):
    """A benchmark with its files. Further fields of a subclass are its own settings.

    Attributes:
        n: number of pictures, the first of the list; None for all.
        images: folder of the pictures.
        data: folder of the official files.
        max_new_tokens: limit on every answer to this benchmark, in place of the run's.
    """

    name: ClassVar[str]
    judged: ClassVar[bool] = False
    """Whether a judge must read the answers before they can be scored (`lvlm-saliency judge`)."""

    n: int | None = None
    images: str | Path | None = None
    data: str | Path | None = None
    max_new_tokens: int | None = None

    @cached_property
    def items(self) -> list[Item]:
        """Every item, in the benchmark's own order. InputError names a file that is missing or cannot be used."""
        return [Item(index, *rest) for index, rest in enumerate(self.rows())]

    @abstractmethod
    def rows(self) -> Sequence[tuple[str, str, str]]:
        """(id, image, prompt) of every item."""

    @abstractmethod
    def picture(self, item: Item) -> Image:
        """The item's picture; not called for items without one. ImageError when it is missing or broken."""

    @abstractmethod
    def picture_digest(self, item: Item) -> str:
        """SHA-256 of the picture (of its file where it comes from one). ImageError when it is missing."""

    @abstractmethod
    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        """The scorer's result for each part of the benchmark, from the answers by item index."""

    def texts(self, rows: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
        """The texts to score, by item index; a benchmark may have a rule for answers that were cut off."""
        return {index: row["text"] for index, row in rows.items()}

    def upload(self, texts: Mapping[int, str], label: str) -> tuple[str, str] | None:
        """Name and content of the file that the official scorer (a server, a judge's script) reads; None without one.

        Args:
            texts: the answers, by item index.
            label: the name of the system that wrote them.
        """
        return None

    def check(self) -> None:
        """Raise, before the model runs, what would otherwise only fail when answers are scored (missing files)."""
        if not self.items:
            raise InputError(f"{self.name}: no items; the files hold no question")

    def present(self, item: Item) -> Collection[str] | None:
        """Canonical names of the objects in the item's picture, for the oracle control; None where the benchmark does
        not say."""
        return None

    def words(self) -> str | Path | None:
        """The vocabulary of its object labels: the name of one that ships, or a file of synonyms; None where its
        answers name no objects."""
        return None

    def captions(self) -> frozenset[int]:
        """Indices of the items whose answers are descriptions: the length-matched control applies to those."""
        return frozenset()

    def described(self) -> dict[str, Any]:
        """The settings that decide what is asked and how it is scored, for the run's configuration."""
        limit = {} if self.max_new_tokens is None else {"max_new_tokens": self.max_new_tokens}
        return {"name": self.name, "n": self.n, **limit}


class Pictures:
    """Pictures in a folder, by file name, in the sub-folders where the official archives put them."""

    SUBFOLDERS = ("", "val2014", "images", "image", "images/val2014", "val", "test", "images/test", "MMVP Images")

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


@dataclass(frozen=True)
class PictureFiles(Benchmark):
    """A benchmark whose pictures are files in a folder."""

    @cached_property
    def pictures(self) -> Pictures:
        """The folder of the pictures."""
        return Pictures(self.images, self.name)

    def picture(self, item: Item) -> Image:
        return self.pictures.open(item.image)

    def picture_digest(self, item: Item) -> str:
        return self.pictures.digest(item.image)


@dataclass(frozen=True)
class JudgedBenchmark(PictureFiles):
    """A benchmark whose answers a judge must read: a run writes them in the official layout without scoring them."""

    judged: ClassVar[bool] = True

    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        return {}


def texts_of(rows: Sequence[dict[str, Any]], names: Sequence[str], what: str) -> list[dict[str, Any]]:
    """The rows, each of which must hold these texts. InputError names the first that does not."""
    for index, row in enumerate(rows):
        if lacking := [name for name in names if not isinstance(row.get(name), str)]:
            raise InputError(f"{place(rows, index, what)}: needs {lacking[0]!r}, a text")
    return list(rows)


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

    The last bit of the key's SHA-256 decides, so that a picture is in the same half whatever list it stands in, and
    settings that were chosen on one half have not seen the other.
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
    """`split` and `offset` where they are not the defaults, so that configurations from before they existed stay
    equal."""
    told = {"split": benchmark.split} if benchmark.split != usual else {}
    return told | ({"offset": benchmark.offset} if benchmark.offset else {})


def check_limit(benchmark: Any) -> None:
    """SettingError for a `max_new_tokens` that is no whole number from 1."""
    limit = benchmark.max_new_tokens
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= 10**6):
        raise SettingError(
            f"{benchmark.name}: max_new_tokens must be a whole number from 1 to 1,000,000, got {limit!r}"
        )


def answer_lines(benchmark: Benchmark, texts: Mapping[int, str], label: str, number: Any = int) -> str:
    """Answers as LLaVA's scripts write and read them: JSON lines of `question_id`, `prompt`, `text`, `answer_id`,
    `model_id` and `metadata`. `number`: makes the question's id of the item's."""
    rows = []
    for index, text in texts.items():
        item = benchmark.items[index]
        answer_id = hashlib.sha256(f"{label}\0{item.id}\0{text}".encode()).hexdigest()[:22]
        row = {"question_id": number(item.id), "prompt": item.prompt, "text": text}
        rows.append({**row, "answer_id": answer_id, "model_id": label, "metadata": {}})
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
