"""The questions: kinds of facts, each with a question, the opening of its answer, and what is accepted after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from lvlm_saliency.studies.factual import books, language, order, places, science

SHOWN = 3
"""Questions of each kind, its first, which stand answered in the prompts of that kind and are not asked."""


@dataclass(frozen=True)
class Question:
    """A question with one short answer.

    Attributes:
        kind: of fact.
        subject: what it is about (questions about one subject are one group for every interval).
        text: the question.
        opening: how its answer begins, up to the word that decides.
        accepted: what may follow, the usual one first.
    """

    kind: str
    subject: str
    text: str
    opening: str
    accepted: tuple[str, ...]

    @property
    def answer(self) -> str:
        """The whole answer, as prompts show it."""
        return f"{self.opening} {self.accepted[0]}."


Rows = Iterable[tuple[str, str]]
"""Subjects, each with what is accepted, "|" between."""


@cache
def kinds() -> dict[str, tuple[Question, ...]]:
    """Every question, by its kind; the first `SHOWN` of each are the examples.

    Of a subject that two rows name, the first row counts.
    """
    return {name: tuple(_written(name, *pattern)) for name, pattern in _patterns().items()}


def _written(kind: str, text: str, opening: str, rows: Rows) -> Iterator[Question]:
    seen: set[str] = set()
    for subject, accepted in rows:
        if subject not in seen:
            seen.add(subject)
            variants = tuple(accepted.split("|"))
            yield Question(kind, subject, text.format(subject), opening.format(subject), variants)


def _patterns() -> dict[str, tuple[str, str, Rows]]:
    entries = (entry.split() for entry in science.ELEMENTS.replace("\n", " ").split(","))
    elements = [(name, symbol) for name, symbol in entries]
    return {
        "capital": ("What is the capital of {}?", "The capital of {} is", _columns(1)),
        "state capital": ("What is the capital of the state of {}?", "The capital of the state of {} is",
                          _lines(places.STATES)),
        "continent": ("On which continent is {}?", "{} is on the continent of", _columns(2)),
        "language": ("What is the official language of {}?", "The official language of {} is", _columns(3)),
        "currency": ("What is the currency of {}?", "The currency of {} is the", _columns(4)),
        "country of a sight": ("In which country is {}?", "In the world, {} is in", _lines(places.SIGHTS)),
        "chemical symbol": ("What is the chemical symbol for {}?", "The chemical symbol for {} is", elements),
        "atomic number": ("What is the atomic number of {}?", "The atomic number of {} is",
                          [(name, str(number)) for number, (name, _) in enumerate(elements[:60], 1)]),
        "young animal": ("What is the word for a young {}?", "The word for a young {} is", _lines(science.YOUNG)),
        "class of animal": ("What kind of animal is the {}?", "In biology, the {} is a kind of", _classes()),
        "colour": ("What colour is {}?", "The usual colour of {} is", _lines(science.COLOURS)),
        "how many": ("What is the number of {}?", "The number of {} is", _lines(science.MEASURES)),
        "opposite": ("What is the opposite of {}?", "The opposite of {} is", _lines(language.OPPOSITES)),
        "plural": ("What is the plural of {}?", "The plural of {} is", _lines(language.PLURALS)),
        "past tense": ("What is the past tense of {}?", "The past tense of {} is", _lines(language.PASTS)),
        "author": ("Who wrote {}?", "The author of {} is", _lines(books.BOOKS)),
        "first letter": ("With which letter does the word {} begin?", "The word {} begins with the letter",
                         [(word, word[0]) for word in language.SPELLED.replace("\n", " ").replace(",", " ").split()]),
        "order": ("What is the {}?", "The {} is", order.neighbours()),
        "number word": ("How is the number {} written in words?", "In words, the number {} is",
                        [(str(number), order.in_words(number)) for number in range(3, 99, 2)]),
        "Roman numeral": ("What number is the Roman numeral {}?", "The Roman numeral {} is the number",
                          [(order.roman(number), str(number)) for number in range(2, 90, 2)]),
        "sum": ("What is {}?", "The result of {} is", order.sums()),
        "difference": ("What is {}?", "The result of {} is", order.differences()),
        "product": ("What is {}?", "The result of {} is", order.products()),
    }  # fmt: skip


def _lines(table: str) -> list[tuple[str, str]]:
    pairs = (line.partition(": ") for line in table.strip().splitlines())
    return [(subject, accepted) for subject, _, accepted in pairs]


def _columns(column: int) -> list[tuple[str, str]]:
    """Countries with a column of their table, where it is given."""
    rows = [[cell.strip() for cell in line.split(": ")] for line in places.COUNTRIES.strip().splitlines()]
    return [(row[0], row[column]) for row in rows if len(row) > column and row[column] != "-"]


def _classes() -> list[tuple[str, str]]:
    """Animals with their class, in an order that mixes the classes."""
    found = []
    for line in science.CLASSES.replace("\n    ", " ").strip().splitlines():
        accepted, _, animals = line.partition(": ")
        found += [(place, animal, accepted) for place, animal in enumerate(animals.split(", "))]
    rows = []
    for _, entry, accepted in sorted(found, key=lambda one: one[0]):
        animal, _, narrower = entry.partition("=")
        rows.append((animal, f"{accepted}|{narrower.replace('/', '|')}" if narrower else accepted))
    return rows
