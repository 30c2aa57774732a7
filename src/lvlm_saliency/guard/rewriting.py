"""What happens to a sentence that cannot stand: how far the text is rolled back, what is banned, how the text ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlm_saliency.guard.attributes import Said
from lvlm_saliency.guard.claims import Claim, Note
from lvlm_saliency.guard.events import Event, Moment, Try

if TYPE_CHECKING:
    from lvlm_saliency.guard.row import Row


def without_object(row: Row, claim: Claim) -> int | None:
    """The sentence names an object that it must not name.

    Returns:
        The number of tokens to which the text was rolled back; None where the sentence has to stay.
    """
    draft, mention = row.draft, claim.mention
    word, risk = draft.text[mention.start : mention.end], 1.0 if claim.risk is None else claim.risk
    _noted(row, mention.end, word, mention.name, risk, "again" if claim.again else "absent")
    if mention.name not in row.banned and row.total <= row.rules.total_tries:
        row.banned.append(mention.name)
    return _further(row, draft.start if row.attempt else draft.clause(mention))


def without_attribute(row: Row, said: Said, risk: float) -> int | None:
    """The rewritten sentence states something of an object that the model does not confirm.

    The phrase is rewritten in other words; after `local_tries` of those, the object is treated as absent.
    """
    draft, number = row.draft, row.draft.token_at(said.start)
    _noted(row, said.end, draft.text[said.start : said.end], said.name, risk, said.kind)
    if row.total > row.rules.total_tries:
        row.unguarded = True
        return None
    if said.kind != "number" and row.mended < row.rules.local_tries:  # another number would not agree with the verb
        row.mended += 1
        row.barred.setdefault(number, set()).add(draft.ids[number])
        return row.back(number)
    if said.name not in row.banned:
        row.banned.append(said.name)
    return _further(row, draft.start)


def without_form(row: Row, end: int) -> int | None:
    """The rewritten text has not the form of a sentence."""
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
    """Roll back to this length, or to the beginning of the sentence for another beginning, or give the sentence up."""
    draft, rules = row.draft, row.rules
    if row.total > rules.total_tries:
        row.unguarded = True
        return None
    if not row.dropping and len(row.tries) < rules.local_tries:
        row.attempt += 1
        return row.back(length)
    if row.plan is not None and row.plan.more:
        return _left_out(row)
    only = draft.start == draft.first  # a text must not be empty: its first sentence stays, flagged
    if not only and row.beginnings < rules.beginnings:
        # Another beginning may lead to a sentence that names no absent object.
        row.beginnings += 1
        row.dropping, row.first = True, set(row.openers)
        row.attempt += 1
        return row.back(draft.start)
    if only or rules.end is None:
        row.lenient = True
        return None
    return _ended(row, rules.end)


def _left_out(row: Row) -> int:
    """Leave the current sentence out: the text goes on with the next one of its plan."""
    start = row.draft.start
    row.back(start)
    _dropped(row)
    row.next_sentence()
    return start


def _dropped(row: Row) -> None:
    first = row.tries[0]
    row.events.append(Event(first.word, first.object, None, first.risk, "dropped", tuple(row.tries)))
    row.tries = []
    row.tally.ended += 1
    row.watch(Moment("settled", "", action="dropped"))


def _ended(row: Row, end: int) -> int:
    """End the text before the current sentence."""
    start = row.draft.start
    row.back(start)
    _dropped(row)
    row.draft.append(end)
    row.notes.append(Note(float("nan"), float("nan"), None))
    row.draft.settle(len(row.draft.text))
    row.ended, row.done = "stop", True
    return start
