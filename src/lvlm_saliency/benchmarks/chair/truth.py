"""CHAIR's ground truth from COCO's own annotation files."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.json_stream import iterate
from lvlm_saliency.files.records import image_key

from .mentions import find_mentions
from .synonyms import Synonyms


def from_coco(
    instances: Iterable[str | Path],
    captions: Iterable[str | Path],
    synonyms: Synonyms | str | Path,
    variant: str = "official",
    images: Collection[Any] | None = None,
) -> dict[str, list[str]]:
    """`{image id: sorted node words}`: instance categories united with the objects of the reference captions.

    `instances`, `captions`: paths of `instances_*.json` and `captions_*.json` (the official truth takes train and val
    2014). The files are walked, not loaded. `images`: only these ids, for speed. Images without any object have an
    empty list when a caption or instance file lists them. Raises `InputError`.
    """
    table = synonyms if isinstance(synonyms, Synonyms) else Synonyms.read(synonyms)
    wanted = None if images is None else {image_key(image) for image in images}
    found: dict[str, set[str]] = {}

    def nodes_of(image: Any, path: str | Path) -> set[str] | None:
        key = image_key(image)
        if key is None:
            raise InputError(f"{path}: {image!r} is no image id")
        return None if wanted is not None and key not in wanted else found.setdefault(key, set())

    for path in instances:
        _add_instances(path, table, nodes_of)
    for path in captions:
        for key, item in iterate(path, "images", "annotations"):
            nodes = nodes_of(_get(item, "id" if key == "images" else "image_id", path), path)
            if nodes is not None and key == "annotations":
                nodes.update(find_mentions(_get(item, "caption", path), table, variant).nodes)
    return {image: sorted(nodes) for image, nodes in found.items()}


def _add_instances(path: str | Path, table: Synonyms, nodes_of: Any) -> None:
    # COCO writes "categories" after "annotations", so category numbers are kept until the names are known.
    numbers: dict[int, set[int]] = {}
    names: dict[int, str] = {}
    kept: dict[int, set[str]] = {}
    for key, item in iterate(path, "images", "annotations", "categories"):
        if key == "categories":
            names[_get(item, "id", path)] = _get(item, "name", path)
        elif (nodes := nodes_of(image := _get(item, "id" if key == "images" else "image_id", path), path)) is not None:
            kept[image] = nodes
            if key == "annotations":
                numbers.setdefault(image, set()).add(_get(item, "category_id", path))
    for image, categories in numbers.items():
        for category in categories:
            if category not in names:
                raise InputError(f"{path}: category {category} of image {image} has no name in this file")
            if names[category] not in table.node_of:
                raise InputError(f"{path}: category {names[category]!r} is not in the synonym list")
            kept[image].add(table.node_of[names[category]])


def _get(item: Any, field: str, path: str | Path) -> Any:
    if not isinstance(item, dict) or field not in item:
        raise InputError(f"{path}: not COCO's layout: an item without {field!r}")
    return item[field]
