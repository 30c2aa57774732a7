"""Prints what a guard did to a text: the sentences that it rolled back, why, and what replaced them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

THEN = {
    "rewritten": "written instead",
    "flagged": "could not be mended: it stands, flagged",
    "dropped": "nothing stands in its place",
}
WHY = {
    "again": "introduced a second time",
    "number": "number not confirmed",
    "colour": "colour not confirmed",
    "place": "place not confirmed",
    "relation": "a relation, which cannot be confirmed",
    "no sentence": "not a sentence",
}
"""Why a rewritten sentence was taken back in its turn, where it was not for an object's risk."""


def print_guard(console: Console, tokens: Sequence[str], events: Sequence[Any]) -> None:
    """Print the sentences that were taken back, each with the word that decided it and its risk, and the words that
    stand although their risk is above the threshold. `tokens`: of the text, as `Answer.tokens`."""
    taken = [event for event in events if event.tries]
    judged = [event for event in events if not event.tries and event.risk is not None]
    count = sum(len(event.tries) for event in taken)
    console.print(Text(f"guard: object words checked: {len(judged)}; sentences taken back: {count or 'none'}"))
    for event in taken:
        for one in event.tries:
            why = WHY.get(one.why, f"risk {one.risk:.0%}")
            console.print(Text.assemble("  - ", (one.text, "strike"), f"   ({one.word}: {why})"))
        now = "" if event.span is None else "".join(tokens[slice(*event.span)]).strip()
        console.print(Text.assemble("    ", (THEN[event.action], "bold"), f": {now}" if now else ""))
    flagged = [event for event in judged if event.action == "flagged"]
    if flagged:
        named = ", ".join(f"{event.word} {event.risk:.0%}" for event in flagged)
        console.print(Text(f"  flagged: {named}"))
    unchecked = [event.word for event in events if event.action == "unchecked"]
    if unchecked:
        console.print(Text(f"  not checked: {', '.join(unchecked)}"))
