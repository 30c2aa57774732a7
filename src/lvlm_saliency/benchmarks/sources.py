"""What each benchmark needs, where to get it, and whether it is there. Nothing is ever downloaded from here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvlm_saliency.benchmarks.registry import runnable, spec
from lvlm_saliency.benchmarks.spec import Need
from lvlm_saliency.errors import InputError, did_you_mean

SUFFIXES = (".jsonl", ".json", ".txt")
SUBFOLDERS = ("", "{name}", "data", "annotations", "output/coco", "coco", "data/annotations")


@dataclass(frozen=True)
class Found:
    """A need and where it was found, None where it was not."""

    benchmark: str
    need: Need
    path: Path | None


ALIASES = {"objects": ("coco_objects", "chair_objects", "objects")}


def find(benchmark: str, stem: str, data: str | Path | None) -> Path:
    """The file of this stem under `data`, in the places where the official repositories keep it.

    Raises:
        InputError: no such file; the message says where to get it.
    """
    if data is None:
        raise InputError(f"{benchmark} needs its official files: give their folder with --data DIR")
    for path in _candidates(benchmark, stem, Path(data)):
        if path.is_file():
            return path
    where = next((f" (from {need.where})" for need in spec(benchmark).needs if need.stem == stem), "")
    raise InputError(f"{benchmark}: no {stem}.json, .jsonl or .txt in {data}{where}")


def has(benchmark: str, stem: str, data: str | Path | None) -> bool:
    """Whether `find` would find it."""
    return data is not None and any(path.is_file() for path in _candidates(benchmark, stem, Path(data)))


def folder(benchmark: str, data: str | Path | None) -> Path:
    """`data` as a folder that exists. InputError otherwise."""
    if data is None or not Path(data).is_dir():
        shown = "no folder was given" if data is None else f"{data} is no folder"
        raise InputError(f"{benchmark} needs its official files ({shown}): give their folder with --data DIR")
    return Path(data)


def _candidates(benchmark: str, stem: str, data: Path) -> Iterator[Path]:
    for below in SUBFOLDERS:
        for name in ALIASES.get(stem, (stem,)):
            for suffix in SUFFIXES:
                yield data / below.format(name=benchmark) / f"{name}{suffix}"
    if stem.startswith("query_"):
        for suffix in SUFFIXES:
            yield data / "query" / f"{stem}{suffix}"
            yield data / "data" / "query" / f"{stem}{suffix}"


def check(benchmark: str, data: str | Path | None = None, images: str | Path | None = None) -> list[Found]:
    """For every need of a benchmark, whether it is there. InputError for an unknown benchmark."""
    if benchmark not in runnable():
        raise InputError(f"no benchmark {benchmark!r}{did_you_mean(benchmark, runnable())}")
    return [Found(benchmark, need, _where(benchmark, need, data, images)) for need in spec(benchmark).needs]


def complete(found: list[Found]) -> bool:
    """Whether a benchmark can run with what was found: a prepared file stands for the annotation files."""
    return not _lacking(found)


def _lacking(found: list[Found]) -> list[Need]:
    prepared = any(one.path and one.need.stem == "objects" for one in found)
    wanted = [one for one in found if not one.need.optional and not one.path]
    return [one.need for one in wanted if not (prepared and one.need.stem.startswith(("instances_", "captions_")))]


def require(benchmark: str, data: str | Path | None = None, images: str | Path | None = None) -> None:
    """Raise InputError where a folder is none, or a file or the pictures are missing; no file is read for it."""
    for option, place in (("--data", data), ("--images", images)):
        if place is not None and not Path(place).is_dir():
            raise InputError(f"{benchmark}: {place} is no folder; give one that exists with {option} DIR")
    if lacking := _lacking(check(benchmark, data, images)):
        option = "--images" if lacking[0].stem == "pictures" else "--data"
        raise InputError(
            f"{benchmark}: {lacking[0].what} not found; give the folder with {option} DIR (`lvlm-saliency data check "
            f"{benchmark}` says what is needed and where to get it)"
        )


def _where(benchmark: str, need: Need, data: str | Path | None, images: str | Path | None) -> Path | None:
    if need.stem == "pictures":
        place = images or (data if benchmark == "mme" else None)
        return Path(place) if place and _holds_pictures(Path(place)) else None
    if need.stem == "folder":
        return Path(data) if data and Path(data).is_dir() else None
    return find(benchmark, need.stem, data) if has(benchmark, need.stem, data) else None


def _holds_pictures(place: Path) -> bool:
    return place.is_dir() and any(path.suffix.lower() in (".jpg", ".jpeg", ".png") for path in place.rglob("*"))
