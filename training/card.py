"""The model card that ships beside the weights, written from the run's own figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.evaluate import PROMPT, Figures
from training.phases import Phase

_NAMES = {
    "parse_rate": "captions that parse in the world's grammar",
    "recall": "object recall",
    "chair_s": "CHAIR_s",
    "chair_i": "CHAIR_i",
    "words": "words per caption",
    "said_place": "placed statements in captions that are true (nine places)",
    "said_relation": "relations in captions that are true",
    "said_colour": "colours in captions that are true",
    "said_count": "numbers in captions that are true, a as one",
    "said_several": "of these two and three",
    "said_all": "all statements of captions, those about absent objects too",
    "places_per_caption": "placed statements per caption",
    "relations_per_caption": "relations per caption",
    "colour": '"What color is the ...?", right word for word',
    "count": '"How many ... are there?"',
    "place": '"Where is the ...?" (nine places)',
    "pope_random": "POPE accuracy, random negatives",
    "pope_popular": "POPE accuracy, popular negatives",
    "pope_adversarial": "POPE accuracy, adversarial negatives",
    "pope_random_minus_adversarial": "POPE accuracy, random minus adversarial",
}
_ABOUT = {
    "see": "the tower learns the class, the colour, the place and the number of what every patch shows "
    "(dense cross-entropy); the place is the whole object's",
    "project": "the projector learns to point at the word embeddings of what a patch shows and where that is",
    "talk": "projector and decoder, the tower held fixed: two captions and about six questions share one picture "
    "behind a block mask; a caption's words that the picture decides weigh 2.5",
    "joint": "the same, an answer's words weigh 5 and a caption's decided words 2",
    "place": "the same, a caption's words of place and relation weigh 6, what something lies to included",
    "relate": "the same, with more questions about what lies where, 0.45 of every batch from scenes whose captions "
    "name something absent (0.38 by nature), where 0.35 of the yes are about the absent",
    "guess": "the same, these shares at 0.53 and 0.5",
    "finish": "the same at 0.55 and 0.5, words of place and relation weigh 8, the rate down to its end",
}
_FLOOR = {
    "parse_rate": "at least 0.98",
    "recall": "at least 0.95",
    "chair_s": "0.2 to 0.45",
    "said_place": "at least 0.85",
    "said_relation": "at least 0.85",
    "said_colour": "at least 0.95",
    "said_count": "at least 0.90",
    "pope_random": "at least 0.95",
    "pope_random_minus_adversarial": "at least 0.03",
}

_TEMPLATE = Path(__file__).with_name("card.md")


@dataclass(frozen=True)
class CardFacts:
    """What the card states besides the figures."""

    parameters: int
    size: int
    words: int
    scenes: int
    seed: int
    hidden: float
    minutes: float
    machine: str
    dtype: str
    history: str
    dev: int
    n: int
    test_seed: int
    reference_chair_s: float
    reference_chair_i: float


def write_card(path: Path, facts: CardFacts, phases: Sequence[Phase], figures: Figures) -> None:
    """Write the card in Markdown."""
    steps = [
        f"{number}. *{phase.name}*: {_ABOUT[phase.name]}. "
        f"{phase.steps} steps of {phase.batch} scenes, peak learning rate "
        f"{f'{phase.muon_lr:g} (Muon, hidden matrices) and ' if phase.muon_lr else ''}{phase.adam_lr:g} (AdamW)"
        for number, phase in enumerate(phases, start=1)
    ]
    values = vars(facts) | {"parameters": facts.parameters / 1e6, "megabytes": facts.size / 1e6, "prompt": PROMPT}
    text = _TEMPLATE.read_text(encoding="utf-8").format(**values, phases="\n".join(steps), table=table(figures, _FLOOR))
    path.write_text(text, encoding="utf-8", newline="\n")


def table(figures: Figures, floor: Mapping[str, str]) -> str:
    """The lines of the card's table: every figure with its interval, and the floor where there is one."""
    rows = []
    for key, name in _NAMES.items():
        value, low, high = (_number(key, figure) for figure in figures[key])
        rows.append(f"| {name} | {value} | {low} to {high} | {floor.get(key, '')} |")
    return "\n".join(rows)


def _number(key: str, value: float) -> str:
    if key.endswith("_per_caption"):
        return f"{value:.2f}"
    return f"{value:.1f}" if key == "words" else f"{value:.3f}"
