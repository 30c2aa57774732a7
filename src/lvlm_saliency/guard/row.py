"""One sample under the guard: takes in its tokens, judges its claims, rolls back, and settles its sentences."""

from __future__ import annotations

from dataclasses import asdict

from lvlm_saliency.guard import rewriting
from lvlm_saliency.guard.attributes import said
from lvlm_saliency.guard.claims import Check, Claim, Note
from lvlm_saliency.guard.events import Action, Event, Moment
from lvlm_saliency.guard.sentences import is_sentence
from lvlm_saliency.guard.state import NEVER, RowState
from lvlm_saliency.guard.verdicts import Judged
from lvlm_saliency.guard.words import Mention

CAUTION = 10.0
"""Where texts are compared, one hallucinated object outweighs so many supported ones (1 / beta in HaloProbe)."""


class Row(RowState):
    """One sample under the guard, and what is done with it."""

    # --- what was written ---

    def written(self, token: int, note: Note, ended: str | None, step: int, vector) -> list[Claim]:
        """Append a token.

        Args:
            token: its id.
            note: what its forward pass recorded.
            ended: why it is the last token ("stop" or "length"); None if it is not.
            step: number of the decode step.
            vector: `vector(row, token)` gives the first-stage log-odds of the word that begins at a token.

        Returns:
            The claims about which the model has to be asked.
        """
        if self.plan is not None and self.planned is not None:
            self.plan.at += 1
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
        redone = redone or (self.plan is not None and self.total > 0)  # what is new may stand in the plan as well
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
            claim.margin = None  # an answer to an earlier attempt does not count here
        return claim

    def answered(self, claim: Claim, margin: float) -> None:
        """Take in the model's answer about a claim's object."""
        self.margins[claim.mention.name] = claim.margin = margin
        claim.waiting = False

    # --- what follows ---

    @property
    def waiting(self) -> bool:
        """Whether a question of this sample has to be answered before its claims can be judged."""
        return any(claim.waiting for claim in self.claims) or any(one.confirmed is None for one in self.checks.values())

    def resolve(self) -> int | None:
        """Judge all claims that can be judged.

        Returns:
            The number of tokens to which the text was rolled back; None where it was not.
        """
        while True:
            if thought := self.draft.skip():
                self.watch(Moment("settled", thought, action="thinking"))
            if self.ended is not None and self.draft.start >= len(self.draft):
                self.done = True  # the text ended within its thinking
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
        """Whether the rewritten sentence up to `end` cannot stand, or has a question open; and the number of tokens to
        which the text was rolled back, if it was."""
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
        """Judge a claim; returns whether its sentence has to be rolled back."""
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
        """Roll back to the first `length` tokens."""
        self.boundary, self.origin = length, min(self.origin, length)
        self.returns[length] = self.returns.get(length, 0) + 1
        self.draft.cut(length)
        if self.plan is not None:
            self.plan.leave_out()
        del self.notes[length:]
        self.claims = [claim for claim in self.claims if claim.token < length]
        self.barred = {at: tokens for at, tokens in self.barred.items() if at <= length}
        self.ended = None
        self.watch(Moment("taken back", **asdict(self.tries[-1])))
        return length

    def _commit(self, end: int) -> None:
        """Settle the sentence up to the character `end`."""
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
        self.next_sentence()

    def next_sentence(self) -> None:
        """Begin with a new sentence behind what is settled."""
        if self.plan is not None:
            self.plan.settle(len(self.draft) - self.draft.start)
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
