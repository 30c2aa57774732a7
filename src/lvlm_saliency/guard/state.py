"""The state of one sample under the guard: its text, its claims, the decisions about them, and what is banned next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lvlm_saliency.guard.claims import Check, Claim, Note, Rules
from lvlm_saliency.guard.draft import Draft
from lvlm_saliency.guard.events import Event, Moment, Tally, Try
from lvlm_saliency.guard.plan import Plan
from lvlm_saliency.guard.verdicts import Judged
from lvlm_saliency.guard.words import Mention

NEVER = 10**9
"""A number larger than that of any token."""


def unwatched(moment: Moment) -> None:
    """A watcher that ignores what it is shown."""


@dataclass
class RowState:
    """What is known of one sample under the guard.

    Attributes:
        number: the sample's number in seeded draws.
        draft: the text.
        rules, tally: of the generation.
        notes: one for each token.
        claims: the object words of the current sentence.
        cut: object words that the limit on new tokens cut off.
        margins: the model's answers so far, by object.
        checks: attributes stated in the current sentence, by question and value.
        verdicts: the first event of each object.
        events: all events so far.
        tries: rolled-back versions of the current sentence.
        returns: how often the text was rolled back to each length.
        judged: every word that was judged, and whether the guard acted on it.
        sentence: number of the current sentence.
        candidate: which of several texts of one sample this is; 0 is generated as without "best_of".
        attempt: how often the current sentence was rolled back.
        total: rollbacks in the whole text.
        boundary: the token from which the current sentence is being rewritten.
        origin: the token from which on the sentence differs from its first version.
        banned: objects that the current sentence must not name.
        barred: tokens that it must not have, by position.
        openers: the tokens that it has begun with so far.
        first: tokens that it must not begin with.
        mended: how often one of its phrases was rewritten.
        beginnings: how many other beginnings were tried.
        dropping: another sentence is to replace it.
        lenient: it stays, whatever it says.
        unguarded: it and everything after it stays.
        ended: why the text ended ("stop", "length"); None while it goes on.
        done: nothing more is to be done.
        watch: receives what happens to the text.
        plan: a draft that the text follows; None where the model chooses every token.
    """

    number: int
    draft: Draft
    rules: Rules
    tally: Tally
    notes: list[Note] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    cut: list[Mention] = field(default_factory=list)
    margins: dict[str, float] = field(default_factory=dict)
    checks: dict[tuple[str, str], Check] = field(default_factory=dict)
    verdicts: dict[str, Event] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)
    returns: dict[int, int] = field(default_factory=dict)
    judged: list[tuple[Judged, bool]] = field(default_factory=list)
    sentence: int = 0
    candidate: int = 0
    attempt: int = 0
    total: int = 0
    boundary: int = 0
    origin: int = NEVER
    banned: list[str] = field(default_factory=list)
    barred: dict[int, set[int]] = field(default_factory=dict)
    openers: set[int] = field(default_factory=set)
    first: set[int] = field(default_factory=set)
    mended: int = 0
    beginnings: int = 0
    dropping: bool = False
    lenient: bool = False
    unguarded: bool = False
    ended: str | None = None
    done: bool = False
    watch: Callable[[Moment], None] = unwatched
    plan: Plan | None = None

    # --- what may be written next ---

    @property
    def redoing(self) -> bool:
        """Whether the next token belongs to a sentence that is being rewritten."""
        return self.attempt > 0 and self.draft.in_sentence

    @property
    def planned(self) -> int | None:
        """The next token as the plan has it; None where the model chooses."""
        return None if self.plan is None or self.redoing else self.plan.token

    @property
    def forbidden(self) -> list[str]:
        """The objects that the next token must not name, the newest ban last."""
        known = [name for name, event in self.verdicts.items() if event.action == "kept"]
        return [*(known if self.draft.introduces else ()), *self.banned]

    @property
    def fixed(self) -> set[int]:
        """Tokens that must not come next."""
        here = self.barred.get(len(self.draft), set())
        return here | self.first if len(self.draft) == self.draft.start else here

    @property
    def free(self) -> bool:
        """Whether the current sentence is not rolled back (any more)."""
        return not self.rules.rewrite or self.lenient or self.unguarded
