"""A user's labelled texts: JSON lines of picture, prompt, text and spans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import read_rows
from lvlm_saliency.model.images import open_image
from lvlm_saliency.studies.labels import LABELLED, spans_of
from lvlm_saliency.studies.texts import LabelledText, Span
from lvlm_saliency.tracing.pieces import tokenised

LAYOUT = '{"image", "prompt", "text", "spans": [{"start", "end", "hallucinated"}]}'


def read_labelled(
    path: str | Path, images: str | Path | None, tokenizer: Any, n: int | None = None
) -> list[LabelledText]:
    """The texts of a file, in its order: one JSON object a line (or a JSON list of them),

        {"image": "cat.jpg", "prompt": "Describe it.", "text": "A cat and a dog.",
         "spans": [{"start": 2, "end": 5, "hallucinated": false, "name": "cat"}, ...]}

    Spans count characters of the text, `text[start:end]`; `name` (default: the span's own text in lower case) says
    which object a word names, so that first mentions are told from repeated ones.

    Args:
        images: folder of the pictures; default the file's own.
        tokenizer: the model's; texts are traced as it writes them.
        n: pictures, the first that the file names; None for all.

    Raises:
        InputError: the file, or a line of it, cannot be used; the message says which and why.
    """
    return [_text(line, tokenizer) for line in checked(path, images, n)]


def read_text_of(row: Mapping[str, Any], where: str, folder: Path, tokenizer: Any) -> LabelledText:
    """One line of such a file, checked in full; `where` names it in messages, its picture lies in `folder`.

    Raises:
        InputError: it cannot be used; the message says why.
    """
    return _text(_line(row, where, folder), tokenizer)


@dataclass(frozen=True)
class Line:
    """A line of the file that can be used.

    Attributes:
        where: file and number, for messages.
        picture: file of its picture.
    """

    row: Mapping[str, Any]
    where: str
    picture: Path
    spans: tuple[Span, ...]


def checked(path: str | Path, images: str | Path | None, n: int | None = None) -> list[Line]:
    """The lines of a file, with all that can be told of them without a tokenizer; arguments as in `read_labelled`.

    Raises:
        InputError: the file, or a line of it, cannot be used; the message says which and why.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path}: cannot be read (no such file); give --labels {' or '.join(LABELLED)}, or a file of labelled "
            f"texts, a line of it {LAYOUT}"
        )
    rows = read_rows(path)
    folder = Path(path).parent if images is None else Path(images)
    keep = set(list(dict.fromkeys(str(row.get("image")) for row in rows))[:n])
    chosen = [(row, line) for row, line in zip(rows, rows.lines, strict=True) if str(row.get("image")) in keep]
    return [_line(row, f"{path}:{line}", folder) for row, line in chosen]


def _line(row: Mapping[str, Any], where: str, folder: Path) -> Line:
    for name in ("image", "prompt", "text"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise InputError(f"{where}: {name!r} must be text that is not empty; a line is {LAYOUT}")
    picture = folder / row["image"]
    if not picture.is_file():
        raise InputError(f"{where}: no picture {row['image']!r} in {folder}; give its folder with --images DIR")
    return Line(row, where, picture, tuple(_spans(row.get("spans"), row["text"], where)))


def _text(line: Line, tokenizer: Any) -> LabelledText:
    row, text = line.row, line.row["text"]
    try:
        token_ids, pieces = tokenised(tokenizer, text)
    except InputError as error:
        raise InputError(f"{line.where}: {error}") from error
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in token_ids:
        word = pieces[token_ids.index(tokenizer.unk_token_id)].strip()
        raise InputError(
            f"{line.where}: the model's tokenizer does not know {word!r}, so the model cannot have written it"
        )
    special = set(tokenizer.all_special_ids)
    for token, piece in zip(token_ids, pieces, strict=True):
        if token in special:
            raise InputError(f"{line.where}: {piece.strip()!r} is a special token, not text: write the text without it")
    return LabelledText(
        image=row["image"],
        prompt=row["prompt"],
        text=text,
        token_ids=tuple(token_ids),
        pieces=tuple(pieces),
        spans=line.spans,
        picture=partial(open_image, line.picture),
    )


def _spans(given: Any, text: str, where: str) -> list[Span]:
    if not isinstance(given, list):
        raise InputError(f"{where}: 'spans' must be a list (it may be empty); a line is {LAYOUT}")
    places = sorted(_span(span, text, f"{where}: span {number}") for number, span in enumerate(given, 1))
    for (_, end, *_), (start, *_) in pairwise(places):
        if start < end:
            raise InputError(f"{where}: two spans overlap at character {start} ({text[start:end]!r}); keep one of them")
    return spans_of(places)


def _span(span: Any, text: str, where: str) -> tuple[int, int, bool, str]:
    if not isinstance(span, Mapping) or not isinstance(span.get("hallucinated"), bool):
        raise InputError(f"{where} needs start, end, and hallucinated as true or false")
    start, end = span.get("start"), span.get("end")
    if not (_is_whole(start) and _is_whole(end)):
        raise InputError(f"{where}: start and end must be whole numbers, got {start!r} and {end!r}")
    if not 0 <= start < end <= len(text) or not text[start:end].strip():
        raise InputError(f"{where}: {start} to {end} holds no word of the text, which has {len(text)} characters")
    name = span.get("name", text[start:end])
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: name must be text that is not empty, got {name!r}")
    return start, end, span["hallucinated"], name.strip().lower()


def _is_whole(at: object) -> TypeGuard[int]:
    return isinstance(at, int) and not isinstance(at, bool)
