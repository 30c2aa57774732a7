"""Where sentences and clauses begin in a text that is still being written."""

from __future__ import annotations

import re

_END = re.compile(r"[.!?\u3002\uff01\uff1f]+[\"')\]\u201d\u2019]*(?:[ \t]*\n+)?|\n+")
_NEXT = re.compile(r"\s+[\"'(\[\u201c\u2018*#\-]*[^\W_a-z]|\s*\n")
_SHORT = re.compile(r"(?:\b(?:Dr|Mr|Mrs|Ms|St|Prof|vs|etc|e\.g|i\.e|No|approx|cf|Fig)|\b[A-Z])\.$")
_CLAUSE = re.compile(r"[,;:\u2013\u2014]\s+|\s+(?=(?:and|with|while|as well as)\b)", re.IGNORECASE)


BEGINNERS = tuple(
    re.findall(
        r"\w+",
        "A An The This That These Those There Here It Its We You He She They Their One Two Three Some Another Also "
        "Both In On At To Next And But",
    )
)
"""Words that are written with a capital letter where a sentence begins, and nowhere else."""
_RUN_ON = re.compile(rf"[^\W\d_,;:]\s+(?:{'|'.join(BEGINNERS)})\b")
_DANGLING = re.compile(r"\b(?:an?|the|and|with|of|or|at)\s*[.!?,]|,\s*[.!?,]", re.IGNORECASE)
_TWICE = re.compile(r"\b([^\W\d_]+)\s+\1\b", re.IGNORECASE)


def sentence_ends(text: str, start: int = 0, *, final: bool = False) -> list[int]:
    """Character positions behind which a sentence of `text[start:]` has ended: behind the closing mark (and a quote),
    where a blank and a capital letter, a digit, or a new line follow. An abbreviation or a decimal ends none. A closing
    mark at the very end of the text counts only if the text is `final`, and so does whatever stands there then."""
    found = []
    for match in _END.finditer(text, start):
        if match.end() == len(text):
            break
        if "\n" not in match.group():
            if match.group()[0] == "." and _SHORT.search(text[start : match.start() + 1]):
                continue
            if not _NEXT.match(text, match.end()) and match.group()[0] in ".!?":
                continue
        found.append(match.end())
    return [*found, len(text)] if final and (not found or found[-1] < len(text)) else found


def clause_start(text: str, start: int, position: int) -> int:
    """Where the clause of the sentence from `start` on that holds the character `position` begins: behind a comma,
    semicolon, colon or dash, or before "and", "with", "while", "as well as"; `start` where there is none."""
    starts = [match.end() for match in _CLAUSE.finditer(text, start, position + 1) if match.end() <= position]
    return max((at for at in starts if at > start), default=start)


def closed(text: str) -> bool:
    """Whether the text ends as a sentence does (nothing but blanks behind it): where a text may stop."""
    return not text.strip() or bool(re.search(r"[.!?\u3002\uff01\uff1f][\"')\]\u201d\u2019]*\s*$", text))


def is_sentence(text: str) -> bool:
    """Whether this, which a guard has had written again, is one sentence as far as its form tells: closed as a sentence
    is (or a line of its own), none that begins within it, no word left hanging before its end and none written twice;
    or nothing but blanks."""
    whole = closed(text) or text.endswith("\n")
    return not text.strip() or (whole and not any(one.search(text) for one in (_RUN_ON, _DANGLING, _TWICE)))
