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
"""Words that have a capital letter at the beginning of a sentence only."""
_RUN_ON = re.compile(rf"[^\W\d_,;:]\s+(?:{'|'.join(BEGINNERS)})\b")
_DANGLING = re.compile(r"\b(?:an?|the|and|with|of|or|at)\s*[.!?,]|,\s*[.!?,]", re.IGNORECASE)
_TWICE = re.compile(r"\b([^\W\d_]+)\s+\1\b", re.IGNORECASE)


def sentence_ends(text: str, start: int = 0, *, final: bool = False) -> list[int]:
    """Character positions right after the ends of the sentences in `text[start:]`.

    A sentence ends after a closing mark (and a quote) that is followed by a blank and a capital letter or digit, or by
    a new line; abbreviations and decimals end none. At the very end of the text a closing mark counts only if the text
    is `final`; a final text always ends there.
    """
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
    """The character at which the clause around `position` begins, in the sentence that begins at `start`.

    A clause begins after a comma, semicolon, colon or dash, or at "and", "with", "while" or "as well as"; `start` where
    there is none of these.
    """
    starts = [match.end() for match in _CLAUSE.finditer(text, start, position + 1) if match.end() <= position]
    return max((at for at in starts if at > start), default=start)


def closed(text: str) -> bool:
    """Whether the text ends with the end of a sentence (blanks may follow), so that it may stop there."""
    return not text.strip() or bool(re.search(r"[.!?\u3002\uff01\uff1f][\"')\]\u201d\u2019]*\s*$", text))


def is_sentence(text: str) -> bool:
    """Whether a rewritten text has the form of one sentence.

    It is closed as a sentence (or a line of its own), no other sentence begins within it, it does not break off after a
    word that needs another, and it has no word twice in a row. A text of nothing but blanks passes as well.
    """
    whole = closed(text) or text.endswith("\n")
    return not text.strip() or (whole and not any(one.search(text) for one in (_RUN_ON, _DANGLING, _TWICE)))
