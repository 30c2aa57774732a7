"""One sample under the guard: what it claims, what was decided about it, and what has become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from lvlm_saliency.guard import rewriting
from lvlm_saliency.guard.attributes import said
from lvlm_saliency.guard.claims import Check, Claim, Note, Rules
from lvlm_saliency.guard.draft import Draft
from lvlm_saliency.guard.events import Action, Event, Moment, Tally, Try
from lvlm_saliency.guard.sentences import is_sentence
from lvlm_saliency.guard.verdicts import Judged
from lvlm_saliency.guard.words import Mention

NEVER = 10**9
"""More tokens than any text has."""
CAUTION = 10.0
"""How many supported objects a hallucinated one weighs, where texts are compared (HaloProbe's 1 / beta)."""


def unwatched(moment: Moment) -> None:
    """Nobody looks on."""


@dataclass
class Row:
    """number: names the sample to seeded draws. attempt: how often the sentence in question was taken back; boundary:
    the token from which it is being written anew; banned: objects that it may not name; barred: tokens that it may not
    have at a position; openers: the tokens that it began with so far; first: those that it may not begin with;
    checks: what it says of its objects, by question and value; mended: how often a phrase of it was written anew;
    beginnings: how many others were tried; dropping: another sentence is to stand in its place; origin: the token from
    which it is no longer what was written first; lenient: it stays, whatever it says; unguarded: so does everything
    that follows; cut: object words that the limit on new tokens cut off; candidate: of several texts of one sample,
    which this is (0 is drawn as ever); watch: is shown what happens to it."""

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

    # --- what may be written next ---

    @property
    def redoing(self) -> bool:
        """Whether the next token belongs to a sentence that is being written anew."""
        return self.attempt > 0 and self.draft.in_sentence

    @property
    def forbidden(self) -> list[str]:
        """The objects that the next token may not name, the newest ban last."""
        known = [name for name, event in self.verdicts.items() if event.action == "kept"]
        return [*(known if self.draft.introduces else ()), *self.banned]

    @property
    def fixed(self) -> set[int]:
        """Tokens that may not come next where they would."""
        here = self.barred.get(len(self.draft), set())
        return here | self.first if len(self.draft) == self.draft.start else here

    @property
    def free(self) -> bool:
        """Whether nothing is taken back (any more) in the sentence in question."""
        return not self.rules.rewrite or self.lenient or self.unguarded

    # --- what was written ---

    def written(self, token: int, note: Note, ended: str | None, step: int, vector) -> list[Claim]:
        """Take in a token; `ended` says why it was the last ("stop", "length"), if it was. `vector(row, token)` gives
        the log-odds of the first stage. Returns the claims that wait for a question."""
        self.draft.append(token)
        self.notes.append(note)
        self.ended = ended
        found = self.draft.mentions(final=ended == "stop")
        for mention in found[len(self.claims) :]:
            if not mention.complete:
                break
            self.claims.append(self._claim(mention, step, vector))
        self.cut = [mention for mention in found if not mention.complete] if ended == "length" else []
        return [claim for claim in self.claims if claim.waiting]

    def _claim(self, mention: Mention, step: int, vector) -> Claim:
        token = self.draft.token_at(mention.start)
        known = mention.negated or mention.name in self.verdicts
        redone = self.attempt > 0 and token >= self.boundary
        again = redone and not mention.negated and known and self.draft.was_introduced(mention)
        claim = Claim(mention, token, known, again)
        if known:
            return claim
        judge = self.rules.judge
        if judge is None:
            return claim
        claim.odds = vector(self, token)
        claim.margin = self.margins.get(mention.name)
        asked = sum(c.waiting or c.margin is not None for c in self.claims if not c.known)
        if judge.doubtful(claim.odds) and asked < self.rules.per_sentence:
            claim.waiting, claim.since = claim.margin is None, step
        else:
            claim.margin = None  # as if nobody had asked, whatever an earlier attempt asked
        return claim

    def answered(self, claim: Claim, margin: float) -> None:
        """The model's answer about a claim's object."""
        self.margins[claim.mention.name] = claim.margin = margin
        claim.waiting = False

    # --- what follows ---

    @property
    def waiting(self) -> bool:
        """Whether a question of this sample has to be answered before it can be judged."""
        return any(claim.waiting for claim in self.claims) or any(one.confirmed is None for one in self.checks.values())

    def resolve(self) -> int | None:
        """Judge what can be judged. Returns the length to which the text went back, None where it did not."""
        while True:
            if thought := self.draft.skip():
                self.watch(Moment("settled", thought, action="thinking"))
            if self.ended is not None and self.draft.start >= len(self.draft):
                self.done = True  # it ended in the midst of its thinking
                return None
            end = self.draft.sentence_end(final=self.ended is not None)
            for claim in self.claims:
                if end is not None and claim.mention.start >= end:
                    break
                if claim.waiting:
                    return None
                if self._acts(claim):
                    back = rewriting.without_object(self, claim)
                    if back is not None:
                        return back
            if end is None:
                return None
            if self.attempt and not self.free:
                wrong, back = self._wrong(end)
                if wrong:
                    return back
            self._commit(end)
            if self.ended is not None and self.draft.start >= len(self.draft):
                self.done = True
                return None

    def _wrong(self, end: int) -> tuple[bool, int | None]:
        """Whether the sentence up to `end`, which was written again, cannot stand as it is or still has to be asked
        about; and the length to which the text went back, if it did."""
        draft = self.draft
        cut_off = end >= len(draft.text) and self.ended is not None and bool(draft.pieces[-1])
        if not cut_off and not is_sentence(draft.text[draft.begin : end]):
            back = rewriting.without_form(self, end)
            return back is not None, back
        if not self.rules.attributes:
            return False, None
        found = said(draft.text, draft.mentions(final=True), draft.begin, end)
        new = [one for one in found if draft.token_at(one.end - 1) >= self.origin]
        for one in new:
            self.checks.setdefault(one.key, Check(one, None if one.question else False))
        if any(self.checks[one.key].confirmed is None for one in new):
            return True, None
        for one in new:
            if not self.checks[one.key].confirmed:
                risk = next((c.risk for c in self.claims if c.mention.name == one.name and c.risk is not None), 1.0)
                back = rewriting.without_attribute(self, one, risk)
                return back is not None, back
        return False, None

    def _acts(self, claim: Claim) -> bool:
        """Judge a claim, and say whether its sentence has to go."""
        if claim.acts is None and not claim.known:
            claim.acts = self._judged(claim)
        return not self.free and (claim.again or bool(claim.acts))

    def _judged(self, claim: Claim) -> bool:
        name, rules = claim.mention.name, self.rules
        word = Judged(self.number, name, self.sentence, self.attempt, len(self.verdicts))
        if rules.verdicts is not None:
            acts = rules.verdicts.acts(word)
            claim.risk = float(acts)
        else:
            judge = rules.judge
            assert judge is not None  # where no control decides, the judge does
            claim.risk = judge.risk(name, claim.odds, claim.margin)
            passed = judge.passes(claim.odds, claim.margin)
            acts = claim.risk is not None and not passed and claim.risk > judge.threshold
        self.judged.append((word, acts))
        return acts

    def back(self, length: int) -> int:
        """Take back all but the first `length` tokens."""
        self.boundary, self.origin = length, min(self.origin, length)
        self.returns[length] = self.returns.get(length, 0) + 1
        self.draft.cut(length)
        del self.notes[length:]
        self.claims = [claim for claim in self.claims if claim.token < length]
        self.barred = {at: tokens for at, tokens in self.barred.items() if at <= length}
        self.ended = None
        self.watch(Moment("taken back", **asdict(self.tries[-1])))
        return length

    def _commit(self, end: int) -> None:
        """The sentence up to the character `end` stands."""
        draft = self.draft
        before, begin, known = draft.start, draft.begin, len(self.events)
        for claim in self.claims:
            if claim.mention.start >= end:
                break
            self._record(claim)
        for mention in self.cut:
            if mention.start < end and not mention.negated and mention.name not in self.verdicts:
                self._record(Claim(mention, draft.token_at(mention.start), False, False))
        words = draft.text[begin:end].strip()
        draft.settle(end)
        action: Action = "flagged" if any(event.action == "flagged" for event in self.events[known:]) else "kept"
        if self.tries:
            first = self.tries[0]
            kept = self.lenient or self.unguarded
            action = "flagged" if kept else "rewritten" if words else "dropped"
            self.tally.ended += action == "dropped"
            span = (before, draft.last_shown(draft.start)) if words else None
            self.events.append(Event(first.word, first.object, span, first.risk, action, tuple(self.tries)))
        self.watch(Moment("settled", draft.text[begin : draft.begin], action=action))
        self.claims = [claim for claim in self.claims if claim.mention.start >= end]
        self.tries, self.banned, self.barred, self.openers, self.first = [], [], {}, set(), set()
        self.attempt = self.mended = self.beginnings = 0
        self.dropping = self.lenient = False
        self.origin = NEVER
        self.sentence += 1

    def _record(self, claim: Claim) -> None:
        mention = claim.mention
        if mention.negated:
            return
        last = self.draft.token_at(mention.end - 1)
        earlier = self.verdicts.get(mention.name)
        risk = earlier.risk if earlier else claim.risk
        margin = earlier.margin if earlier else claim.margin
        above = earlier.action == "flagged" if earlier else bool(claim.acts)
        word = self.draft.text[mention.start : mention.end]
        action: Action = "unchecked" if risk is None else "flagged" if above else "kept"
        event = Event(word, mention.name, (claim.token, last + 1), risk, action, (), margin, mention.hedged)
        self.events.append(event)
        self.verdicts.setdefault(mention.name, event)

    # --- a whole text ---

    @property
    def worth(self) -> float:
        """How well a text's objects are supported: sum of 1 - r minus `CAUTION` times the sum of r over its distinct
        objects, r their risks; -infinity for a text that names none, so that saying nothing never wins."""
        risks = [event.risk for event in self.verdicts.values() if event.risk is not None]
        return sum(1 - r - CAUTION * r for r in risks) if risks else float("-inf")
