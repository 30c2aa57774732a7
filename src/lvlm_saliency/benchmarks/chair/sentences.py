"""Which full stops end a sentence: NLTK's English Punkt model, reduced to what it does to lower-case text.

CHAIR lower-cases a caption before it tokenises it. Everything in Punkt that looks at capitals is then out of play, and
what is left of the trained model is its list of abbreviations and one rule for numbers and initials. That is small
enough to state here, so that CHAIR's official variant needs no NLTK and no downloaded data.

It matters because the word tokeniser splits a full stop off its word only at the end of a sentence: a stop that this
module misses leaves "table." in one piece, and the mention is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from .lists import words

# The English model's abbreviations, by kind. Single letters are here because only these never end a sentence.
ABBREVIATIONS = frozenset(
    words(
        # people and titles
        "adm bros col dr gen jr lt maj messrs mr mrs ms prof rep reps sen sr ph.d "
        # months and days
        "jan feb aug sept sep oct nov dec tues wed fri "
        # states, places, streets
        "ala ariz calif colo conn ct fla ga ill kan ky mich minn nev ok okla ore pa tenn va vt wash wis "
        "w.va ave cos ft st yr "
        "u.k u.n u.s u.s.a u.s.s.r d.c l.a n.c n.d n.h n.j n.m n.y n.v s.c "
        # firms and measures
        "chg cie co corp inc ltd sw vs mg p.m a.m a.m.e c.i.t c.o.m.b i.m.s m.b.a m.d.c s.a.y s.p.a "
        # initials in pairs
        "a.a a.c a.d a.g a.h a.s a.t b.f b.v c.v d.h d.w e.f e.h e.l e.m f.g f.j g.d g.f g.k h.c h.f h.m j.b j.c "
        "j.j j.k j.p j.r l.f l.p m.j p.a.m r.a r.h r.i r.j r.k r.t s.a s.c s.g s.s t.j w.c w.r w.w "
        # letters
        "c d e f g h k l m n p r s t v w"
    )
)

_JOINS_NO_WORD = r"[)\";}\]*:@'({\[‘’“”«»?!]"
_RUN = r"(?:-{2,}|\.{2,}|(?:\.\s){2,}\.)"
_WORD_END = rf"\s|$|{_JOINS_NO_WORD}|{_RUN}"
_WORD = re.compile(rf"{_RUN}|[^\s(\"`{{\[:;&#*@)}}\]\-,]\S*?(?={_WORD_END}|,(?:{_WORD_END}))|\S")
_CANDIDATE = re.compile(rf"[.?!](?=(?P<mark>{_JOINS_NO_WORD})|(?P<gap>\s+)(?P<next>\S+))")
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*")
# Marks that Punkt hands to the sentence before them, when white space, a dash or the end follows.
_HANDED_BACK = re.compile(r"[\"')\]}‘’“”«»]+?(?:(?=\s)|(?=--)|$)", re.MULTILINE)
_MAY_FOLLOW_THE_STOP = frozenset("])}>\"'»”’ ")
_LAST_RUN = re.compile(r"[ \t\n\r\x0b\x0c]([^ \t\n\r\x0b\x0c]*)\Z")


def final_stops(text: str) -> list[int]:
    """Offsets in lower-case `text` of the full stops that end a sentence and so become tokens of their own."""
    stops = [
        match.start()
        for match, context in _candidates(text)
        if match.group() == "." and _breaks(context) and _ends_alone(text, match.start(), _handed_back(text, match))
    ]
    end = len(text.rstrip())
    last = text.rfind(".", 0, end)
    if last >= 0 and (not stops or last > stops[-1]) and _ends_alone(text, last, end):
        stops.append(last)
    return stops


def _candidates(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Punkt's candidates, the last in each run without white space, with their contexts: the run and what follows."""
    previous: re.Match[str] | None = None
    start = 0
    for match in _CANDIDATE.finditer(text):
        between = text[previous.end() if previous else 0 : match.start()]
        if run := _LAST_RUN.search(between):
            if previous:
                yield previous, _context(text, start, previous)
            start = match.start() - len(run[1])
        previous = match
    if previous:
        yield previous, _context(text, start, previous)


def _context(text: str, start: int, match: re.Match[str]) -> str:
    return text[start : match.end()] + (match["mark"] or match["gap"] + match["next"])


def _breaks(context: str) -> bool:
    """Whether some word of `context`, the last one aside, closes a sentence."""
    found = _WORD.findall(context)
    return any(_closes(word, following) for word, following in pairwise(found))


def _closes(word: str, following: str) -> bool:
    if word in {".", "?", "!"}:
        return True
    if not word.endswith(".") or word.endswith(".."):
        return False
    stem = word[:-1]
    if stem in ABBREVIATIONS or stem.rsplit("-", 1)[-1] in ABBREVIATIONS:
        return False
    if _NUMBER.fullmatch(stem) or (len(stem) == 1 and stem.isalpha()):
        # "2. table" and "x. table" go on; before a digit or a bracket they do not.
        return not (following in {";", ":", ",", ".", "!", "?"} or following[0].islower())
    return True


def _handed_back(text: str, match: re.Match[str]) -> int:
    """Where the sentence ends once the closing marks after its stop are handed back to it."""
    start = match.end() if match["mark"] else match.start("next")
    closing = _HANDED_BACK.match(text, start)
    return closing.end() if closing else match.end()


def _ends_alone(text: str, stop: int, end: int) -> bool:
    """Whether only closing marks stand between the stop and the end of its sentence."""
    if stop > 0 and text[stop - 1] == ".":
        return False
    rest = text[stop + 1 : end].rstrip()
    # After a blank the word tokeniser has made it an opening quote by then, which may not follow.
    return ' "' not in rest and _MAY_FOLLOW_THE_STOP.issuperset(rest)
