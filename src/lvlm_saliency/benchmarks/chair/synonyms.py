"""The official synonym list (docs/scorers.md, quirk 5), and the names of two words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import read_text

from .lists import words

_THEMSELVES = words(
    "motor_bike motor_cycle air_plane traffic_light street_light traffic_signal stop_light fire_hydrant stop_sign "
    "parking_meter suit_case sports_ball baseball_bat baseball_glove tennis_racket wine_glass hot_dog cell_phone "
    "mobile_phone teddy_bear hair_drier potted_plant bow_tie laptop_computer home_plate train_track"
)
_ANIMALS = words("bird cat dog horse sheep cow elephant bear zebra giraffe animal cub")

# Two words -> the one they count as. "wine glas" is what the singulariser makes of "wine glass"; "home plate" and
# "train track" are no objects, and keep "train" from counting. The list's "stove top oven" has three words and can
# never match a window of two.
TWO_WORDS: Mapping[tuple[str, str], str] = {
    **{tuple(name.split("_")): name.replace("_", " ") for name in _THEMSELVES},  # type: ignore[misc]
    **{(age, animal): animal for age in ("baby", "adult") for animal in _ANIMALS},
    ("passenger", "jet"): "jet",
    ("passenger", "train"): "train",
    ("bow", "tie"): "tie",
    ("toilet", "seat"): "toilet",
    ("wine", "glas"): "wine glass",
}


@dataclass(frozen=True)
class Synonyms:
    """Which words name an object, and the node word (the list's first name) that each stands for."""

    node_of: Mapping[str, str]

    @property
    def nodes(self) -> frozenset[str]:
        """The node words, 80 in the official list."""
        return frozenset(self.node_of.values())

    @classmethod
    def read(cls, path: str | Path) -> Synonyms:
        """From the official file: one object a line, names separated by a comma and one blank.

        Entries are taken as the official code takes them, leading blanks and all, so the list's two defective entries
        (" motor bike", " cheesecake") never match. Raises `InputError`.
        """
        try:
            text = read_text(path)
        except InputError as error:
            reason = getattr(error, "reason", None) or str(error).removeprefix(f"{path}: ")
            raise InputError(f"{path}: cannot read the synonym list ({reason})") from error
        node_of: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            names = line.strip().split(", ")
            if names == [""]:
                continue
            for name in names:
                if node_of.setdefault(name, names[0]) != names[0]:
                    raise InputError(f"{path}:{number}: {name!r} already stands for {node_of[name]!r}")
        if not node_of:
            raise InputError(f"{path}: the synonym list is empty")
        return cls(node_of)


def merge_two_words(words: list[str]) -> tuple[list[str], list[int]]:
    """`words` with two-word names made one, greedily from the left, and each one's first index in `words`."""
    merged: list[str] = []
    first: list[int] = []
    index = 0
    while index < len(words):
        pair = TWO_WORDS.get(tuple(words[index : index + 2]))  # type: ignore[arg-type]
        merged.append(pair or words[index])
        first.append(index)
        index += 2 if pair else 1
    return merged, first
