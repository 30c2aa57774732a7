"""The guard's decisions: what it takes back, where it goes back to, what it bans and for how long.

A script in place of the model's own logits says what is written, so that every decision can be followed."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls

from .scripted import END, Script, guard, scripted, text_of

FIRST = ["There", "is", "a", "cup", "."]


def test_a_banned_word_comes_back_in_a_later_sentence(loaded, inputs):
    lines = [*FIRST, "There", "is", "a", "dog|cat", ".", "There", "is", "a", "dog|car", ".", END]
    out, text = scripted(loaded, inputs, guard("dog"), *lines)
    # Each sentence is written again by itself: the ban of the first has ended when the second begins.
    assert text == "There is a cup. There is a cat. There is a car."
    rewritten = [event for event in out.guard[0] if event.action == "rewritten"]
    assert [event.word for event in rewritten] == ["dog", "dog"]
    assert [len(event.tries) for event in rewritten] == [1, 1]
    assert out.cost.rollbacks == 2


def test_it_goes_back_to_the_clause_first_then_to_the_sentence(loaded, inputs):
    lines = [*FIRST, "There|We", "is", "a", "cat", "with", "a", "dog|car", ".", END]
    out, _ = scripted(loaded, inputs, guard("dog", "car", local_tries=3), *lines, do_sample=False)
    start = len(FIRST)
    returns = {at: record.rollbacks for at, record in enumerate(out.steps[0]) if record.rollbacks}
    assert returns[start + 4] == 1  # the clause that begins with "with"
    assert returns[start] >= 1  # and the sentence
    tries = next(event for event in out.guard[0] if event.tries).tries
    assert [one.word for one in tries[:2]] == ["dog", "car"]


def test_plurals_and_capitals_are_banned_with_the_word(loaded, inputs):
    lines = [*FIRST, "There", "is", "a", "dog|dogs|cat", ".", END]
    _, text = scripted(loaded, inputs, guard("dog"), *lines)
    assert text == "There is a cup. There is a cat."


def test_a_sentence_that_cannot_be_mended_is_dropped_or_ends_the_text(loaded, inputs):
    lines = [*FIRST, f"There|We|{END}", "is", "a", "dog|cat|car|bed", "."]
    out, text = scripted(loaded, inputs, guard("dog", "cat", "car", "bed"), *lines)
    assert text == "There is a cup."
    dropped = next(event for event in out.guard[0] if event.action == "dropped")
    assert dropped.span is None
    # Twice in its own way, then with another beginning, and then the text may end.
    assert [one.text.split()[0] for one in dropped.tries] == ["There", "There", "We"]


def test_another_beginning_is_tried_before_the_text_ends(loaded, inputs):
    """Sentences that begin in some ways name what is absent; one that begins otherwise names nothing."""
    absent = "dog|cat|car|bed|boat"
    lines = [*FIRST, "There|We|It|The|Here", "is", "a", f"{absent}|quiet", "day|.", "."]
    out, text = scripted(loaded, inputs, guard(*absent.split("|")), *lines)
    assert text.endswith("is a quiet day.")
    (event,) = [event for event in out.guard[0] if event.tries]
    assert event.action == "rewritten"
    assert len(event.tries) == 5
    assert text.split(". ")[1].split()[0] not in {one.text.split()[0] for one in event.tries}


def test_no_word_is_said_twice_in_a_row_in_a_new_sentence(loaded, inputs):
    lines = [*FIRST, "There", "is", "a", "red", "dog|red|cat", ".", END]
    _, text = scripted(loaded, inputs, guard("dog"), *lines)
    assert text == "There is a cup. There is a red cat."


def test_no_sentence_begins_within_a_rewritten_one(loaded, inputs):
    """ "We can see a red It is a quiet day" is not written: a sentence begins behind the end of the last one."""
    lines = [*FIRST, "At", "the", "top", ",", "we", "see", "a", "dog|quiet", "dog|day", "It|.", END]
    _, text = scripted(loaded, inputs, guard("dog"), *lines)
    assert text == "There is a cup. At the top, we see a quiet day."


def test_a_rewritten_sentence_that_is_none_begins_otherwise(loaded, inputs):
    """ "There is a." is closed, and still no sentence: another beginning is tried."""
    lines = [*FIRST, "There|It", "is", "a", "dog|.|quiet", "day", "."]
    out, text = scripted(loaded, inputs, guard("dog"), *lines)
    (event,) = [event for event in out.guard[0] if event.tries]
    assert [one.why for one in event.tries][:2] == ["absent", "no sentence"]
    assert "is a." not in text


class Says:
    """Confirms nothing but these values; remembers what it was asked."""

    def __init__(self, *values):
        self.values, self.asked = values, []

    def __call__(self, asker, wanted):
        self.asked += [said for _, said in wanted]
        return [said.value in self.values for _, said in wanted]


@pytest.fixture
def judged_absent(monkeypatch):
    """The guard's own judge, whose answers say that these objects are not there."""
    from lvlm_saliency.guard.questions import Asker

    def of(*names):
        def margins(self, wanted):
            return [9.0 if any(f" {name} " in words for name in names) else -9.0 for _, words in wanted]

        monkeypatch.setattr(Asker, "margins", margins)
        return ls.Guard(risk="off", threshold=0.5, words="scenes")

    return of


def test_what_a_rewritten_sentence_says_of_an_object_is_asked_about(loaded, inputs, judged_absent, monkeypatch):
    says = Says("one", "blue", "on the left")
    monkeypatch.setattr("lvlm_saliency.guard.asking.confirmed", says)
    lines = ["There", "is", "a", "red", "cup", "."]
    lines += ["There", "is", "a", "red|blue", "dog|cat", "on|.", "the", "right", "."]
    out, text = scripted(loaded, inputs, judged_absent("dog"), *lines)
    # What was written at once is left alone; of what was written again, colour and place are mended where they stand.
    assert text.startswith("There is a red cup. There is a blue cat.")
    (event,) = [event for event in out.guard[0] if event.tries]
    tries = [(one.word, one.why) for one in event.tries]
    assert tries == [("dog", "absent"), ("red", "colour"), ("on the right", "place")]
    assert ("colour", "cat", "red") in {(said.kind, said.name, said.value) for said in says.asked}
    assert len(says.asked) == len({said.key for said in says.asked}), "once for a text"
    assert "cup" not in {said.name for said in says.asked}


def test_how_objects_lie_to_each_other_is_not_said_again(loaded, inputs, judged_absent, monkeypatch):
    monkeypatch.setattr("lvlm_saliency.guard.asking.confirmed", Says("one"))
    lines = ["There", "is", "a", "cup", ".", "There", "is", "a", "dog|cat", "next|.", "to|.", "the", "cup", "."]
    out, text = scripted(loaded, inputs, judged_absent("dog"), *lines)
    assert text.startswith("There is a cup. There is a cat.")
    assert "relation" in {one.why for event in out.guard[0] for one in event.tries}
    off = ls.Guard(risk="off", threshold=0.5, words="scenes", attributes=False)
    _, text = scripted(loaded, inputs, off, *lines)
    assert text.startswith("There is a cup. There is a cat next to the cup.")


def test_counters_are_hit_exactly_and_it_never_loops(loaded, inputs):
    everything = guard("ball", "bed", "bird", "boat", "book", "car", "cat", "cup", "dog", "kite")
    lines = ["There", "is", "a", "dog|cat|car|bed|cup|boat|bird|ball|book|kite", "."] * 3
    for local, total in ((1, 20), (2, 20), (4, 3), (3, 1)):
        method = ls.Guard(words="scenes", verdicts=everything.verdicts, local_tries=local, total_tries=total)
        out, text = scripted(loaded, inputs, method, *lines)
        flagged = [event for event in out.guard[0] if event.action == "flagged" and event.tries]
        assert len(flagged[0].tries) == min(local, total + 1)
        taken = sum(len(event.tries) for event in out.guard[0])
        assert text
        assert taken <= total + 1


def test_all_banned_lifts_the_newest_ban(loaded, inputs):
    class Only(Script):
        def __call__(self, ids, scores):
            out = super().__call__(ids, scores)
            return out.masked_fill(out < 0, -torch.inf)

    model, processor = loaded
    one = {name: value[:1] for name, value in inputs.items()}
    script = Only(processor.tokenizer, one["input_ids"].shape[1], *FIRST, "There", "is", "a", "dog", ".", END)
    out = ls.generate(model, one, [guard("dog")], processor=processor, logits_processor=[script], max_new_tokens=40)
    assert text_of(processor, out, one).startswith("There is a cup.")


def test_a_present_object_is_not_introduced_again(loaded, inputs):
    lines = [*FIRST, "There", "is", "a", "dog|cup|cat", ".", END]
    _, text = scripted(loaded, inputs, guard("dog"), *lines)
    assert text == "There is a cup. There is a cat."
    lines = [*FIRST, "There", "is", "a", "red", "dog|cup|cat", ".", END]
    _, text = scripted(loaded, inputs, guard("dog"), *lines)
    assert text == "There is a cup. There is a red cat."
