"""Checks the labelled texts of a picture that a client sends, before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvlm_saliency.errors import LvlmSaliencyError
from lvlm_saliency.guard.vocabulary import plural
from lvlm_saliency.serve.faults import Fault
from lvlm_saliency.serve.fields import known, text
from lvlm_saliency.serve.pictures import content_of
from lvlm_saliency.serve.settings import ServeSettings

NAME = re.compile(r"[^\W\d_]+(?:[ '\u2019-][^\W\d_]+)*")
"""What an object's name must match: it becomes a line of a vocabulary file, so only words are allowed."""
LONGEST_NAME, LONGEST_TEXT, MOST_TEXTS, MOST_SPANS = 60, 20_000, 32, 500


@dataclass(frozen=True)
class Labelled:
    """A picture's bytes, and the rows of a file of labelled texts, which do not name the picture yet."""

    picture: bytes
    rows: Sequence[Mapping[str, Any]]


def labelled(body: Mapping[str, Any], settings: ServeSettings) -> Labelled:
    """`{"image": data URL, "texts": [{"prompt", "text", "spans": [{"start", "end", "hallucinated", "name"}]}]}`.

    Raises:
        Fault: a field that is wrong.
    """
    known(body, {"image", "texts"})
    picture = content_of(text(body.get("image"), "image"), "image", max_pixels=settings.max_pixels)
    texts = body.get("texts")
    if not isinstance(texts, list) or not 1 <= len(texts) <= MOST_TEXTS:
        raise Fault(400, f"texts must be a list of 1 to {MOST_TEXTS} labelled texts", "texts")
    return Labelled(picture, [_row(one, f"texts[{at}]") for at, one in enumerate(texts)])


def _row(given: Any, place: str) -> dict[str, Any]:
    if not isinstance(given, dict) or set(given) != {"prompt", "text", "spans"}:
        raise Fault(400, f"{place} must be an object with prompt, text and spans", place)
    for name in ("prompt", "text"):
        if len(text(given[name], f"{place}.{name}")) > LONGEST_TEXT:
            raise Fault(400, f"{name} is longer than {LONGEST_TEXT} characters", f"{place}.{name}")
    spans = given["spans"]
    if not isinstance(spans, list) or len(spans) > MOST_SPANS:
        raise Fault(400, f"spans must be a list of at most {MOST_SPANS}", f"{place}.spans")
    rows = []
    for at, span in enumerate(spans):
        param = f"{place}.spans[{at}]"
        if not isinstance(span, dict) or not set(span) <= {"start", "end", "hallucinated", "name"}:
            raise Fault(400, "a span has start, end, hallucinated and name", param)
        name = str(span.get("name", "")).strip().lower()
        if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
            raise Fault(400, f"the object's name must be words of at most {LONGEST_NAME} letters", f"{param}.name")
        rows.append({**span, "name": name})
    return {"prompt": given["prompt"], "text": given["text"], "spans": rows}


def check_readable(rows: Sequence[Mapping[str, Any]], picture: Any, tokenizer: Any) -> None:
    """Raise `Fault` if a study could not read these rows. picture: the file of their picture."""
    from lvlm_saliency.studies.label_files import read_text_of

    for at, row in enumerate(rows):
        try:
            read_text_of({**row, "image": picture.name}, f"texts[{at}]", picture.parent, tokenizer)
        except LvlmSaliencyError as error:
            raise Fault(400, str(error), f"texts[{at}]") from error


def in_singular(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows, with each plural name replaced by its singular if that is a name in the rows as well."""
    names = {span["name"] for row in rows for span in row["spans"]}
    single = {plural(name): name for name in names}
    return [
        {**row, "spans": [{**span, "name": single.get(span["name"], span["name"])} for span in row["spans"]]}
        for row in rows
    ]
