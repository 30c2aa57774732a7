"""A guarded draft that beam search has found: it stays where nothing is absent, and loses sentences one by one."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError

from .scripted import guard, scripted


@pytest.mark.parametrize("action", ["flag", "rewrite"])
def test_the_best_of_the_beams_stays_where_nothing_is_absent(loaded, inputs, action):
    model, processor = loaded
    plain = ls.generate(model, inputs, [ls.Beam(n_beams=3)], processor=processor, max_new_tokens=40)
    found = ls.generate(model, inputs, [guard(beams=3, action=action)], processor=processor, max_new_tokens=40)
    assert torch.equal(plain.sequences, found.sequences)
    assert any(found.guard)


FIRST = ["There", "is", "a", "cup", "."]
LAST = ["There", "is", "a", "boat", ".", "</s>"]


def test_a_sentence_that_cannot_be_rewritten_is_left_out_of_the_draft(loaded, inputs):
    absent = "dog|cat|car|bed"
    method = guard(*absent.split("|"), beams=2, local_tries=1, beginnings=1)
    out, text = scripted(loaded, inputs, method, *FIRST, "There|We", "is", "a", absent, ".", *LAST)
    assert text == "There is a cup. There is a boat."
    assert [(event.object, event.action) for event in out.guard[0]] == [
        ("cup", "kept"),
        ("dog", "dropped"),
        ("boat", "kept"),
    ]
    assert out.guard[0][-1].span == (8, 9)


def test_the_first_sentence_may_be_left_out_where_another_follows(loaded, inputs):
    method = guard("dog", "cat", beams=2, local_tries=1, beginnings=1)
    _, text = scripted(loaded, inputs, method, "There|We", "is", "a", "dog|cat", ".", *LAST)
    assert text == "There is a boat."


def test_the_draft_goes_on_behind_a_rewritten_sentence(loaded, inputs):
    lines = ["There", "is", "a", "dog|cat", "."]
    _, text = scripted(loaded, inputs, guard("dog", beams=2), *FIRST, *lines, *LAST)
    assert text == "There is a cup. There is a cat. There is a boat."


def test_what_was_rewritten_is_not_introduced_again_by_the_draft(loaded, inputs):
    lines = ["There", "is", "a", "dog|cat", ".", "There", "is", "a", "cat", ".", "</s>"]
    _, text = scripted(loaded, inputs, guard("dog", beams=2, beginnings=1), *FIRST, *lines)
    assert text == "There is a cup. There is a cat."


def test_beams_neither_sample_nor_draw_several(loaded, inputs):
    model, processor = loaded
    with pytest.raises(SettingError, match="neither samples"):
        ls.generate(model, inputs, [guard(beams=2)], processor=processor, max_new_tokens=4, do_sample=True)
    with pytest.raises(SettingError, match="best_of"):
        ls.Guard(beams=2, action="best_of")
