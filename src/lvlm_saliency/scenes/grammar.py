"""The sentence patterns of the world's captions: one table, written from by `captions` and read with by `labels`.

Slots: {scene} "a quiet park"; {one} "a red cup"; {many} "two red cups"; {any} either; {place} "on the left";
{relation} "to the left of"; {anchor} a class name that was mentioned before. A pattern is written with a small first
letter; `sentence` gives it the capital and the full stop.
"""

from __future__ import annotations

import re
from functools import lru_cache

from lvlm_saliency.scenes.classes import COLOURS, PLURALS, SCENE_KINDS, SINGULAR

OPENINGS = (
    "this is {scene}",
    "this is a picture of {scene}",
    "this is a drawing of {scene}",
    "the picture shows {scene}",
    "the drawing shows {scene}",
    "here is {scene}",
    "we see {scene}",
)
OPENING_TAILS = ("", " with {any}", " with {any} and {any}")

ONE_PLACED = (
    "there is {one} {place}",
    "there is also {one} {place}",
    "{one} is {place}",
    "{place}, there is {one}",
    "{place}, we can see {one}",
    "we can see {one} {place}",
)
ONE_ANCHORED = (
    "there is {one} {relation} the {anchor}",
    "{one} is {relation} the {anchor}",
    "{relation} the {anchor}, there is {one}",
    "we can also see {one} {relation} the {anchor}",
)
ONE_LOOSE = ("there is also {one}", "{one} can be seen", "we can also see {one}")
MANY = (
    "there are {many}",
    "there are also {many}",
    "{many} can be seen",
    "we can see {many}",
    "{many} are in the picture",
)
PAIRS = ("{any} and {any} can be seen", "we can see {any} and {any}", "{any} and {any} are in the picture")
CLOSINGS = (
    "the scene looks calm",
    "it is a quiet day",
    "it looks like a nice place",
    "everything looks tidy",
    "nobody is there",
    "all is still",
    "overall, the drawing is simple",
)

PLACES = {
    (0, 0): "at the top left",
    (0, 1): "at the top",
    (0, 2): "at the top right",
    (1, 0): "on the left",
    (1, 1): "in the middle",
    (1, 2): "on the right",
    (2, 0): "at the bottom left",
    (2, 1): "at the bottom",
    (2, 2): "at the bottom right",
}
RELATIONS = ("to the left of", "to the right of", "above", "below", "next to")
NUMBERS = {1: "one", 2: "two", 3: "three"}
SCENE_ADJECTIVES = ("small", "quiet", "bright", "simple")

MENTION = re.compile(r"\b(" + "|".join(sorted([*PLURALS, *SINGULAR], key=len, reverse=True)) + r")\b", re.IGNORECASE)
"""Every word that names a class, singular or plural."""

_WRONG_ARTICLE = re.compile(r"\ba (?=[aeiou])|\ban (?=[^aeiou])")


def sentence(text: str) -> str:
    """A filled pattern with its capital and its full stop."""
    return text[0].upper() + text[1:] + "."


def reads_as_caption(text: str) -> bool:
    """Whether the text is a caption of this grammar: an opening, objects, perhaps a closing; articles must agree.

    Shape alone is judged, not truth. A caption that was cut off, or that names no object at all, is none.
    """
    if not text.endswith("."):
        return False
    sentences = text[:-1].split(". ")
    if any(not part or not part[0].isupper() for part in sentences):
        return False
    lowered = [part[0].lower() + part[1:] for part in sentences]
    if any(_WRONG_ARTICLE.search(part) for part in lowered):
        return False
    opening, body, closing = _expressions()
    if not opening.fullmatch(lowered[0]):
        return False
    middle = lowered[1:-1] if len(lowered) > 1 and closing.fullmatch(lowered[-1]) else lowered[1:]
    return MENTION.search(text) is not None and all(body.fullmatch(part) for part in middle)


@lru_cache(maxsize=1)
def _expressions() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    colour = f"(?:(?:{'|'.join(COLOURS)}) )?"
    one = f"an? {colour}(?:{'|'.join(PLURALS)})"
    many = f"(?:two|three) {colour}(?:{'|'.join(SINGULAR)})"
    slots = {
        "{scene}": f"an? (?:(?:{'|'.join(SCENE_ADJECTIVES)}) )?(?:{'|'.join(SCENE_KINDS)})",
        "{one}": one,
        "{many}": many,
        "{any}": f"(?:{one}|{many})",
        "{place}": f"(?:{'|'.join(PLACES.values())})",
        "{relation}": f"(?:{'|'.join(RELATIONS)})",
        "{anchor}": f"(?:{'|'.join(PLURALS)})",
    }

    def compiled(patterns: list[str]) -> re.Pattern[str]:
        alternatives = []
        for pattern in patterns:
            expression = re.escape(pattern).replace(r"\{", "{").replace(r"\}", "}").replace(r"\ ", " ")
            for slot, value in slots.items():
                expression = expression.replace(slot, value)
            alternatives.append(expression)
        return re.compile("|".join(alternatives))

    openings = [head + tail for head in OPENINGS for tail in OPENING_TAILS]
    return compiled(openings), compiled([*ONE_PLACED, *ONE_ANCHORED, *ONE_LOOSE, *MANY, *PAIRS]), compiled([*CLOSINGS])
