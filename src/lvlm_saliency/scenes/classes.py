"""The world's table: object classes, their colours, and how likely each is in each kind of scene."""

from __future__ import annotations

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (244, 134, 28),
    "yellow": (250, 214, 44),
    "green": (52, 158, 70),
    "blue": (42, 98, 214),
    "purple": (136, 62, 178),
    "brown": (130, 84, 46),
    "white": (248, 248, 248),
    "black": (44, 44, 50),
}

PLURALS: dict[str, str] = {
    "apple": "apples",
    "ball": "balls",
    "bed": "beds",
    "bicycle": "bicycles",
    "bird": "birds",
    "boat": "boats",
    "book": "books",
    "car": "cars",
    "cat": "cats",
    "chair": "chairs",
    "clock": "clocks",
    "cup": "cups",
    "dog": "dogs",
    "flower": "flowers",
    "kite": "kites",
    "lamp": "lamps",
    "laptop": "laptops",
    "plate": "plates",
    "pot": "pots",
    "spoon": "spoons",
    "tree": "trees",
    "umbrella": "umbrellas",
}
CLASSES: tuple[str, ...] = tuple(PLURALS)

# The first colour of a class is drawn half of the time, so that a model can learn a prior.
CLASS_COLOURS: dict[str, tuple[str, ...]] = {
    "apple": ("red", "green", "yellow"),
    "ball": ("red", "blue", "orange", "yellow", "white"),
    "bed": ("blue", "brown", "purple", "red", "white"),
    "bicycle": ("red", "blue", "black", "green"),
    "bird": ("blue", "red", "black", "yellow"),
    "boat": ("white", "red", "blue", "brown"),
    "book": ("red", "green", "blue", "purple", "brown"),
    "car": ("red", "blue", "yellow", "white", "black"),
    "cat": ("orange", "black", "white", "brown"),
    "chair": ("brown", "red", "blue", "black"),
    "clock": ("white", "yellow", "red", "black"),
    "cup": ("white", "blue", "red", "green", "yellow"),
    "dog": ("brown", "black", "white", "orange"),
    "flower": ("red", "yellow", "purple", "white", "orange"),
    "kite": ("red", "purple", "yellow", "green", "orange"),
    "lamp": ("yellow", "white", "green", "purple"),
    "laptop": ("black", "white", "blue"),
    "plate": ("white", "blue", "green", "yellow"),
    "pot": ("black", "red", "orange", "blue"),
    "spoon": ("white", "brown", "yellow"),
    "tree": ("green", "orange", "brown"),
    "umbrella": ("red", "blue", "yellow", "purple", "orange"),
}

# Probability that a class belongs to a scene of this kind. High, but far from one: what is strongly expected is absent
# in a sizeable share of scenes, which is where a model that leans on the statistics goes wrong.
SCENE_KINDS: dict[str, dict[str, float]] = {
    "kitchen": {
        "plate": 0.75,
        "cup": 0.72,
        "spoon": 0.6,
        "pot": 0.6,
        "apple": 0.4,
        "clock": 0.25,
        "chair": 0.3,
        "cat": 0.15,
    },
    "bedroom": {
        "bed": 0.8,
        "lamp": 0.72,
        "book": 0.5,
        "clock": 0.42,
        "cat": 0.4,
        "chair": 0.25,
        "laptop": 0.2,
        "flower": 0.15,
    },
    "office": {
        "laptop": 0.8,
        "book": 0.6,
        "chair": 0.62,
        "lamp": 0.5,
        "cup": 0.45,
        "clock": 0.4,
        "flower": 0.2,
    },
    "park": {
        "tree": 0.8,
        "dog": 0.55,
        "flower": 0.55,
        "bird": 0.5,
        "ball": 0.4,
        "kite": 0.35,
        "bicycle": 0.3,
    },
    "street": {
        "car": 0.8,
        "bicycle": 0.6,
        "tree": 0.5,
        "dog": 0.4,
        "bird": 0.35,
        "umbrella": 0.3,
        "cat": 0.15,
    },
    "beach": {
        "umbrella": 0.72,
        "boat": 0.7,
        "ball": 0.5,
        "bird": 0.5,
        "kite": 0.4,
        "dog": 0.3,
        "chair": 0.2,
    },
}

# Classes that come in twos and threes.
COUNTABLE: frozenset[str] = frozenset(
    {"apple", "ball", "bird", "book", "cup", "flower", "plate", "spoon", "tree", "car", "kite", "chair"}
)

# Classes that belong high in a picture.
HIGH: frozenset[str] = frozenset({"bird", "kite", "clock", "lamp"})

SINGULAR: dict[str, str] = {plural: name for name, plural in PLURALS.items()}


def article(word: str) -> str:
    """`an` before a vowel, else `a` (no class, colour or scene word here is an exception)."""
    return "an" if word[0] in "aeiou" else "a"


def class_frequency() -> dict[str, float]:
    """Probability of each class over all kinds of scene, each kind equally likely, strangers left aside."""
    return {name: sum(table.get(name, 0.0) for table in SCENE_KINDS.values()) / len(SCENE_KINDS) for name in CLASSES}


def co_occurrence(first: str, second: str) -> float:
    """Probability that two different classes are in one scene, each kind of scene equally likely."""
    return sum(table.get(first, 0.0) * table.get(second, 0.0) for table in SCENE_KINDS.values()) / len(SCENE_KINDS)
