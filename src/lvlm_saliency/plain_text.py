"""Makes text from models, files and users safe to print: no character in it can control a terminal or hide text."""

from __future__ import annotations

import re
import unicodedata

DOT = "\u00b7"
"""Replaces every character that is not a letter, mark, digit, sign or space."""

_JOINERS = "\u200c\u200d"  # scripts such as Hindi and Persian need them, and they control nothing
_STRANGE = re.compile("[^ -~]")


def printable(text: str, keep: str = "\n\t") -> str:
    """`text` with a dot for each character that could control a terminal or be invisible, and plain spaces.

    Replaced are escape and other control codes (C0, DEL, C1), bidirectional controls, line and paragraph separators,
    lone surrogates and unassigned code points. Each character is treated by itself, so a stream can be passed in
    pieces.

    Args:
        text: any text.
        keep: control characters that stay, by default line feed and tab; CR LF becomes LF where LF is kept.
    """
    if "\n" in keep:
        text = text.replace("\r\n", "\n")
    return _STRANGE.sub(lambda found: _shown(found.group(), keep), text)


def one_line(text: object) -> str:
    """`str(text)` made safe to print within a line (names, paths, settings): line feeds become dots as well."""
    return printable(str(text), keep="")


def printable_json(text: str) -> str:
    """A JSON document with those characters escaped as `\\uXXXX`, which a JSON reader turns back into them."""
    return _STRANGE.sub(lambda found: _escape(found.group()), text)


def _shown(character: str, keep: str) -> str:
    if character in keep or character.isprintable() or character in _JOINERS:
        return character
    return " " if unicodedata.category(character) == "Zs" else DOT


def _escape(character: str) -> str:
    # Line feeds stay: within strings JSON has escaped them already, so those left belong to the layout.
    if character == "\n" or character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
