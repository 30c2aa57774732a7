"""What captions of the drawn world say beyond naming objects: false statements by kind, repeats, well-formed sentences.

A claim is a noun phrase that introduces an object, with its number, colour, place and relation. It is false if the
object is not there or if anything that it says of it is wrong. The world itself gives the truth, so nothing here is a
matter of a parser's opinion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from lvlm_saliency.stats.counts import CountTable, ratio, tabulate

NAME = "scene-statements"
ATTRIBUTES = ("count", "colour", "place", "relation")
_WORD = re.compile(r"[a-z0-9]+")

COLUMNS = (
    "captions",
    "sentences",
    "claims",
    "false_claims",
    "absent_claims",
    "repeated_claims",
    *(f"{kind}_statements" for kind in ATTRIBUTES),
    *(f"{kind}_false" for kind in ATTRIBUTES),
    "well_formed",
    "bigrams",
    "repeated_bigrams",
)
FIGURES = {
    "false_statements": lambda total: ratio(total["false_claims"], total["claims"]),
    "false_object": lambda total: ratio(total["absent_claims"], total["claims"]),
    "false_count": lambda total: ratio(total["count_false"], total["count_statements"]),
    "false_colour": lambda total: ratio(total["colour_false"], total["colour_statements"]),
    "false_place": lambda total: ratio(total["place_false"], total["place_statements"]),
    "false_relation": lambda total: ratio(total["relation_false"], total["relation_statements"]),
    "false_per_caption": lambda total: ratio(total["false_claims"], total["captions"]),
    "false_per_sentence": lambda total: ratio(total["false_claims"], total["sentences"]),
    "introduced_again": lambda total: ratio(total["repeated_claims"], total["claims"]),
    "statements_per_caption": lambda total: ratio(total["claims"], total["captions"]),
    "repeated_bigrams": lambda total: ratio(total["repeated_bigrams"], total["bigrams"]),
    "well_formed": lambda total: ratio(total["well_formed"], total["captions"]),
}
"""`false_object` is a share of all claims. The other kinds are shares of the statements of that kind about objects that
are in the picture, so that a caption which names fewer absent objects does not also seem better at places."""


def counts_of(text: str, claims: list[Any], well_formed: bool) -> dict[str, int]:
    """The counts of one caption.

    Args:
        text: the caption.
        claims: its `scenes.Claim`s.
        well_formed: whether the world's grammar reads the caption.
    """
    words = [_WORD.findall(part.lower()) for part in re.split(r"[.!?]", text)]
    pairs = [pair for part in words for pair in pairwise(part)]
    counts = {
        "captions": 1,
        "sentences": sum(map(bool, words)),
        "claims": len(claims),
        "false_claims": sum(bool(claim.false) for claim in claims),
        "absent_claims": sum(not claim.present for claim in claims),
        "repeated_claims": sum(claim.again for claim in claims),
        "well_formed": int(well_formed),
        "bigrams": len(pairs),
        "repeated_bigrams": len(pairs) - len(set(pairs)),
    }
    about_present = [each for claim in claims if claim.present for each in claim.statements]
    for kind in ATTRIBUTES:
        said = [each.correct for each in about_present if each.kind == kind]
        counts[f"{kind}_statements"], counts[f"{kind}_false"] = len(said), len(said) - sum(said)
    return counts


def table(result: Mapping[str, Any]) -> CountTable:
    """The counts per picture of a result (`per_caption`: entries with `image_id` and `counts`)."""
    rows = ((entry["image_id"], entry["counts"]) for entry in result["per_caption"])
    return tabulate(rows, COLUMNS, FIGURES)
