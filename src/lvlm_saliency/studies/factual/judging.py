"""Which words of a text are the answer, and whether they are right."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from lvlm_saliency.studies.factual.order import in_words

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
_END = re.compile(r"\n|[.!?;,:](?=\s|$)")
_ARTICLES = ("the", "a", "an")


@dataclass(frozen=True)
class Judged:
    """`text[start:end]` is the answer; right: whether it is one of those that are accepted."""

    start: int
    end: int
    right: bool


def judge(text: str, accepted: Sequence[str]) -> Judged | None:
    """The answer in what a model wrote after an opening; None where it wrote no word.

    It is right where its first words are those of an accepted answer: capitals, accents, punctuation and an article
    before it do not count, and a number up to 99 may be written in words. It begins at its first word that is no
    article, which is the word that decides, and ends with its line, or at the first mark of punctuation.
    """
    line = text.lstrip()
    begin = len(text) - len(line)
    found = list(_WORD.finditer(text, begin, begin + len(line.partition("\n")[0])))
    if not found:
        return None
    said = [_plain(one.group()) for one in found]
    wanted = [_words(one) for one in _spelled(accepted)]
    right = any(said[: len(one)] == one for one in wanted)
    if not right and said[0] in _ARTICLES and len(said) > 1:
        found, said = found[1:], said[1:]
        right = any(said[: len(one)] == one for one in wanted)
    end = _END.search(text, found[0].end())
    return Judged(found[0].start(), len(text.rstrip()) if end is None else end.start(), right)


def _spelled(accepted: Sequence[str]) -> list[str]:
    """Accepted answers, and the words of those that are numbers."""
    numbers = [in_words(int(one)) for one in accepted if one.isdecimal() and int(one) < 100]
    return [*accepted, *numbers, *(number.replace("-", "") for number in numbers)]


def _words(text: str) -> list[str]:
    return [_plain(one) for one in _WORD.findall(text)]


def _plain(word: str) -> str:
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).replace(",", "")
