"""CHAIR: the share of captions, and of mentions, with an object that is not in the picture (Rohrbach et al. 2018).

Official source: LisaAnne/Hallucination `utils/chair.py`, and with recall Maxlinn's standalone copy; the variant
`lemmatizer` is OPERA's `chair.py`. Mentions are not deduplicated (docs/scorers.md, quirk 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems, image_key, place, read_json, read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, ratio, tabulate

from .mentions import Mentions, find_mentions, normaliser
from .synonyms import Synonyms

Objects = Mapping[Any, Iterable[str]]

COLUMNS = (
    "captions",
    "hallucinated_captions",
    "mentions",
    "hallucinated_mentions",
    "truth_objects",
    "recalled_objects",
    "tokens",
)
FIGURES = {
    "CHAIR_s": lambda total: ratio(total["hallucinated_captions"], total["captions"]),
    "CHAIR_i": lambda total: ratio(total["hallucinated_mentions"], total["mentions"]),
    "recall": lambda total: ratio(total["recalled_objects"], total["truth_objects"]),
    "length": lambda total: ratio(total["tokens"], total["captions"]),
}


def score(
    captions: Sequence[Mapping[str, Any]] | str | Path,
    objects: Objects | str | Path,
    synonyms: Synonyms | str | Path,
    variant: str = "official",
    *,
    errors: str = "raise",
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """CHAIR of `captions`.

    `captions`: `[{"image_id", "caption"}]`, or a file of them. `objects`: `{image id: node words in the picture}`, or a
    JSON file of it (`truth.from_coco` makes one). `synonyms`: the official list. `variant`: "official" or "lemmatizer".
    `errors`: "raise", or "skip" to leave out and count captions that are malformed, of an unknown image, or a second
    one of the same image (the official code takes an unknown image for an empty one). `bootstrap`: how intervals are
    drawn.

    Returns fractions `CHAIR_s`, `CHAIR_i`, `recall` and the mean `length` in tokens, two-word names counted once; the
    counts that they are ratios of (`captions`, `hallucinated_captions`, `mentions`, `hallucinated_mentions`,
    `truth_objects`, `recalled_objects`, `tokens`); `intervals`, `skipped` and one entry per caption in `per_caption`.
    Where the official code stops with ZeroDivisionError, the figure is NaN.
    Raises `InputError`, `SettingError`.
    """
    normaliser(variant)  # an unknown name is refused before any file is read
    problems = Problems(errors)
    rows = read_rows(captions, problems) if isinstance(captions, str | Path) else captions
    table = synonyms if isinstance(synonyms, Synonyms) else Synonyms.read(synonyms)
    truths = read_objects(objects, table)
    per_caption: list[dict[str, Any]] = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        where = place(rows, index, "captions")
        image = image_key(row.get("image_id")) if isinstance(row, Mapping) else None
        if image is None or not isinstance(row.get("caption"), str):
            problems.report("malformed", f"{where}: needs an image_id and a caption that is text")
        elif image not in truths:
            problems.report("unknown_image", f"{where}: image {image} is not among the ground truth's")
        elif image in seen:
            problems.report("duplicate", f"{where}: a second caption of image {image}")
        else:
            seen.add(image)
            found = find_mentions(row["caption"], table, variant)
            per_caption.append({"index": index, "image_id": row["image_id"], **_score_one(found, truths[image])})
    return _result(per_caption, variant, problems, bootstrap or Bootstrap())


def table(result: Mapping[str, Any]) -> CountTable:
    """The counts per image of a result of `score`, for `Bootstrap.differences`."""
    rows = ((image_key(entry["image_id"]), _counts(entry)) for entry in result["per_caption"])
    return tabulate(rows, COLUMNS, FIGURES)


def read_objects(objects: Objects | str | Path, synonyms: Synonyms) -> dict[str, frozenset[str]]:
    """`{image key: node words}`, checked: a word that is no node word could never be mentioned."""
    name = str(objects) if isinstance(objects, str | Path) else "objects"
    loaded = read_json(objects) if isinstance(objects, str | Path) else objects
    if not isinstance(loaded, Mapping):
        raise InputError(f"{name}: expected an object of image ids, each with a list of node words")
    nodes = synonyms.nodes
    truths: dict[str, frozenset[str]] = {}
    for image, words in loaded.items():
        key = image_key(image)
        if key is None or isinstance(words, str) or not isinstance(words, Iterable):
            raise InputError(f"{name}: image {image!r} needs an id and a list of node words")
        truths[key] = frozenset(words)
        if strange := sorted(map(str, truths[key] - nodes)):
            raise InputError(
                f"{name}: image {image}: {strange[0]!r} is no node word (first name of a line) of the list"
            )
    return truths


def _score_one(found: Mentions, truth: frozenset[str]) -> dict[str, Any]:
    hallucinated = [
        {"word": word, "node_word": node, "token_index": at}
        for word, node, at in zip(found.words, found.nodes, found.token_index, strict=True)
        if node not in truth
    ]
    recalled = sorted(truth & set(found.nodes))
    return {
        "words": found.words,
        "node_words": found.nodes,
        "token_index": found.token_index,
        "hallucinated": hallucinated,
        "recalled": recalled,
        "truth_objects": len(truth),
        "tokens": len(found.tokens),
        "CHAIR_s": int(bool(hallucinated)),
        "CHAIR_i": len(hallucinated) / len(found.nodes) if found.nodes else 0.0,  # 0 without a mention, officially
        "recall": float(ratio(len(recalled), len(truth))),
    }


def _counts(entry: Mapping[str, Any]) -> dict[str, int]:
    return {
        "captions": 1,
        "hallucinated_captions": entry["CHAIR_s"],
        "mentions": len(entry["node_words"]),
        "hallucinated_mentions": len(entry["hallucinated"]),
        "truth_objects": entry["truth_objects"],
        "recalled_objects": len(entry["recalled"]),
        "tokens": entry["tokens"],
    }


def _result(
    per_caption: list[dict[str, Any]], variant: str, problems: Problems, bootstrap: Bootstrap
) -> dict[str, Any]:
    counts = table({"per_caption": per_caption})
    return {
        "benchmark": "chair",
        "variant": variant,
        **counts.values(),
        **{name: int(total) for name, total in zip(COLUMNS, counts.counts.sum(axis=0), strict=True)},
        "intervals": bootstrap.intervals(counts),
        "bootstrap": bootstrap.settings(),
        "skipped": dict(problems.skipped),
        "per_caption": per_caption,
    }
