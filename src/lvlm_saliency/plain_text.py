"""Text that others wrote, made fit to be printed: nothing in it can move the cursor, colour, clear or hide anything."""

from __future__ import annotations

import re
import unicodedata

DOT = "\u00b7"
"""Stands for every character that is no letter, mark, digit, sign or space."""

_JOINERS = "\u200c\u200d"  # scripts such as Hindi and Persian need them, and they steer nothing
_STRANGE = re.compile("[^ -~]")


def printable(text: str, keep: str = "\n\t") -> str:
    """`text` with each character that a terminal may obey, or not show, as a dot, and other blanks as plain spaces.

    That takes in escape and other control codes (C0, DEL, C1), bidirectional controls, line and paragraph separators,
    half surrogates and unassigned code points. A character stands by itself, so pieces of a stream can be treated one
    after the other. `keep`: controls that stay, by default line feed and tab; CR LF becomes LF where LF is kept.
    """
    if "\n" in keep:
        text = text.replace("\r\n", "\n")
    return _STRANGE.sub(lambda found: _shown(found.group(), keep), text)


def one_line(text: object) -> str:
    """`str(text)` fit to stand within a line: names, paths, settings. Line feeds become dots as well."""
    return printable(str(text), keep="")


def printable_json(text: str) -> str:
    """A JSON document with those characters escaped as `\\uXXXX`: a reader gets back what was written."""
    return _STRANGE.sub(lambda found: _escape(found.group()), text)


def _shown(character: str, keep: str) -> str:
    if character in keep or character.isprintable() or character in _JOINERS:
        return character
    return " " if unicodedata.category(character) == "Zs" else DOT


def _escape(character: str) -> str:
    # Line feeds are the document's own: within strings JSON has them escaped already.
    if character == "\n" or character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
