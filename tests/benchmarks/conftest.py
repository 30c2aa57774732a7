"""Fixtures of the scorers' tests: the official figures where they lie beside the checkout, and small invented data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvlm_saliency.benchmarks import nltk_tools
from lvlm_saliency.benchmarks.chair import Synonyms
from lvlm_saliency.errors import InputError

OFFICIAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def official() -> Path:
    """The folder with real captions, answers and the figures of the official scorers."""
    if not OFFICIAL.is_dir():
        pytest.skip("../shared/data is not there")
    return OFFICIAL


@pytest.fixture(scope="session")
def expected(official: Path) -> Callable[[str], dict[str, Any]]:
    """`expected("chair")`: the figures that the official scorer printed."""
    return lambda name: json.loads((official / name / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def nltk_data() -> None:
    """Skips where NLTK, its tagger or WordNet is not installed."""
    try:
        nltk_tools.lemma("words")
        nltk_tools.tags(["words"])
    except InputError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def nltk_words() -> Callable[[str], list[str]]:
    """NLTK's own word tokeniser, to compare with; skips where it or Punkt is not installed."""
    try:
        nltk_tools.words("word")
    except InputError as missing:
        pytest.skip(str(missing))
    return nltk_tools.words


SYNONYMS = """\
person, people, woman, man, child
dog, puppy, pup
bus, minibus
train, locomotive
wine glass
toilet, lavatory
chair, seat, stool
dining table, table, desk
tie, bow tie
motorcycle,  motor bike, scooter
tennis racket, racket
traffic light, street light
"""


@pytest.fixture
def synonyms_file(tmp_path: Path) -> Path:
    """A small list in the official layout, with one of its defects (a name with a leading blank)."""
    path = tmp_path / "synonyms.txt"
    path.write_text(SYNONYMS, encoding="utf-8")
    return path


@pytest.fixture
def synonyms(synonyms_file: Path) -> Synonyms:
    return Synonyms.read(synonyms_file)
