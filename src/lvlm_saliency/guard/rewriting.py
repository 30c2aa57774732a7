"""What follows where a sentence cannot stand: where the text goes back to, what it may not say then, how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlm_saliency.guard.attributes import Said
from lvlm_saliency.guard.claims import Claim, Note
from lvlm_saliency.guard.events import Event, Moment, Try

if TYPE_CHECKING:
    from lvlm_saliency.guard.row import Row


def without_object(row: Row, claim: Claim) -> int | None:
    """The sentence names an object that it may not name. Returns the length to which the text went back, None where the
    sentence has to stay."""
    draft, mention = row.draft, claim.mention
    word, risk = draft.text[mention.start : mention.end], 1.0 if claim.risk is None else claim.risk
    _noted(row, mention.end, word, mention.name, risk, "again" if claim.again else "absent")
    if mention.name not in row.banned and row.total <= row.rules.total_tries:
        row.banned.append(mention.name)
    return _further(row, draft.start if row.attempt else draft.clause(mention))


def without_attribute(row: Row, said: Said, risk: float) -> int | None:
    """The rewritten sentence says of an object what the model, asked, does not: written again from there, in other
    words; where that has been tried often enough, as if the object were absent."""
    draft, number = row.draft, row.draft.token_at(said.start)
    _noted(row, said.end, draft.text[said.start : said.end], said.name, risk, said.kind)
    if row.total > row.rules.total_tries:
        row.unguarded = True
        return None
    if said.kind != "number" and row.mended < row.rules.local_tries:  # another number would not go with the verb
        row.mended += 1
        row.barred.setdefault(number, set()).add(draft.ids[number])
        return row.back(number)
    if said.name not in row.banned:
        row.banned.append(said.name)
    return _further(row, draft.start)


def without_form(row: Row, end: int) -> int | None:
    """The rewritten sentence is none."""
    draft, first = row.draft, row.tries[0]
    _noted(row, end, draft.text[draft.begin : end].strip(), first.object, first.risk, "no sentence")
    row.dropping = True
    return _further(row, row.draft.start)


def _noted(row: Row, end: int, word: str, name: str, risk: float, why: str) -> None:
    draft = row.draft
    row.tries.append(Try(draft.text[draft.begin : end].strip(), word, name, risk, why))
    row.openers.add(draft.ids[draft.start])
    row.total += 1
    row.tally.taken_back += 1


def _further(row: Row, length: int) -> int | None:
    """Go back to this length, or to the sentence's beginning, for another way to begin; or give it up."""
    draft, rules = row.draft, row.rules
    if row.total > rules.total_tries:
        row.unguarded = True
        return None
    if not row.dropping and len(row.tries) < rules.local_tries:
        row.attempt += 1
        return row.back(length)
    if draft.start == draft.first:
        row.lenient = True  # a text does not begin with nothing: its first sentence stays, flagged
        return None
    row.beginnings += 1
    if row.beginnings <= rules.beginnings:
        # Another way to begin may lead to a sentence that names nothing absent.
        row.dropping, row.first = True, set(row.openers)
        row.attempt += 1
        return row.back(draft.start)
    if rules.end is None:
        row.lenient = True
        return None
    return _ended(row, rules.end)


def _ended(row: Row, end: int) -> int:
    """The text ends before the sentence in question."""
    start = row.draft.start
    row.back(start)
    first = row.tries[0]
    row.events.append(Event(first.word, first.object, None, first.risk, "dropped", tuple(row.tries)))
    row.tries = []
    row.tally.ended += 1
    row.draft.append(end)
    row.notes.append(Note(float("nan"), float("nan"), None))
    row.draft.settle(len(row.draft.text))
    row.ended, row.done = "stop", True
    row.watch(Moment("settled", "", action="dropped"))
    return start
