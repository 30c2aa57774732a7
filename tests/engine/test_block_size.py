"""How many tokens SGRS drafts in a block, and when blocks pay: decided by refusals and measured times."""

from __future__ import annotations

import pytest

from lvlm_saliency.interventions.sgrs import block_size as pacing


def seen(pace, refused, number):
    for _ in range(number):
        pace.observe(refused)


def test_pace_follows_the_refusals():
    pace = pacing.BlockSize(fixed=True, share=0.5)
    seen(pace, False, 400)
    assert pace.size() == pacing.LARGEST
    seen(pace, True, 100)
    assert pace.size() <= 4
    pace = pacing.BlockSize(fixed=False, share=0.5)
    assert [pace.next_is_block() for _ in range(pacing.WARM + 1)] == [False] * pacing.WARM + [True]
    for name, seconds in (("draft", 1.0), ("verify", 3.0), ("step", 1.6)):
        pace.timed(name, seconds)
    seen(pace, False, 100)
    assert pace.blocks_pay()
    seen(pace, True, 200)
    assert not pace.blocks_pay()
    turns = [pace.next_is_block() for _ in range(200)]
    assert turns.count(True) == 200 // (pacing.PAUSE * pacing.PATIENCE + 1), "now and then it looks again"


def test_steps_behind_a_block_do_not_make_steps_look_dear():
    """Nearly every step that follows a block refuses; blocks are weighed against steps as they would come."""
    pace = pacing.BlockSize(fixed=False, share=0.5)
    for name, seconds in (("draft", 1.0), ("verify", 3.0), ("step", 1.6), ("refusal", 40.0)):
        for _ in range(3):
            pace.timed(name, seconds)
    seen(pace, True, 40)
    seen(pace, False, 400)
    assert pace.rate < 0.01
    assert pace.blocks_pay()  # drafts at 1 against steps at 1.6, and 40 too seldom to matter
    pace.history.seconds["step"].extend([1.05] * 9)
    assert not pace.blocks_pay()


def test_the_first_time_of_an_action_gives_way():
    pace = pacing.BlockSize(fixed=False, share=0.5)
    for seconds in (50.0, 1.0, 2.0):
        pace.timed("draft", seconds)
    assert list(pace.history.seconds["draft"]) == [1.0, 2.0]


def test_one_text_teaches_the_next_and_only_of_its_own_setting():
    class Model:
        pass

    model, other = Model(), Model()
    history = pacing.cost_history_of(model, ("alpha", 0.6))
    assert pacing.cost_history_of(model, ("alpha", 0.6)) is history
    assert pacing.cost_history_of(model, ("alpha", 0.3)) is not history
    assert pacing.cost_history_of(other, ("alpha", 0.6)) is not history
    first = pacing.BlockSize(False, 0.5, history)
    assert not first.next_is_block()  # nothing is known: an ordinary step
    assert first.size() <= pacing.FIRST
    for name, seconds in (("draft", 1.0), ("verify", 3.0), ("step", 1.6)):
        first.timed(name, seconds)
    seen(first, False, 300)
    second = pacing.BlockSize(False, 0.5, history)
    assert second.next_is_block()
    assert second.size() == pacing.LARGEST
    assert second.rate == pytest.approx(history.refused / history.seen)
    seen(second, True, 300)
    assert not pacing.BlockSize(False, 0.5, history).next_is_block()
    count = len(pacing._histories)
    del other
    assert len(pacing._histories) == count - 1  # it goes with its model
