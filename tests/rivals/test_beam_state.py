"""The state of a beam search by itself, on toy distributions that can be searched exhaustively."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlm_saliency.decoding.beams import Beams, Rules

CPU = torch.device("cpu")


def toy(seed, vocabulary, steps):
    """log p(next | text so far) as a function, arbitrary but fixed."""

    def log_probs(texts):
        rows = []
        for text in texts.tolist():
            generator = torch.Generator().manual_seed(hash((seed, *text)) % 2**31)
            rows.append(torch.log_softmax(2 * torch.randn(vocabulary, generator=generator), dim=-1))
        return torch.stack(rows)

    return log_probs


def stops(ends, steps):
    return lambda texts: torch.isin(texts[:, -1], torch.tensor(ends, dtype=torch.long)) | (texts.shape[1] >= steps)


def searched(log_probs, rules, steps):
    beams, seen = Beams.start(CPU), []
    while not beams.done:
        seen.append(beams)
        beams = beams.advanced(log_probs(beams.tokens), rules, stops(rules.ends, steps)).beams
    return beams, seen


def rules(n, *, penalty=1.0, early=False, prompt=0, ends=(), longest=2):
    return Rules(n, penalty, early, prompt, tuple(ends), longest)


@given(seed=st.integers(0, 10**6), vocabulary=st.integers(2, 6))
@settings(max_examples=50, deadline=None)
def test_as_many_beams_as_tokens_find_the_best_of_all_two_token_texts(seed, vocabulary):
    log_probs = toy(seed, vocabulary, 2)
    beams, _ = searched(log_probs, rules(vocabulary), 2)

    def total(text):
        first = log_probs(torch.zeros(1, 0, dtype=torch.long))[0, text[0]]
        return float(first + log_probs(torch.tensor([text[:1]]))[0, text[1]])

    texts = sorted(itertools.product(range(vocabulary), repeat=2), key=total, reverse=True)
    found = [tuple(text.tokens.tolist()) for text in beams.best(vocabulary)]
    assert found == texts[:vocabulary]
    assert beams.best()[0].score == pytest.approx(total(texts[0]) / 2, abs=1e-5)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 4), early=st.sampled_from([False, True, "never"]))
@settings(max_examples=50, deadline=None)
def test_a_step_leaves_the_state_before_it_alone(seed, n, early):
    log_probs = toy(seed, 7, 6)
    how = rules(n, early=early, ends=(0,), longest=6)
    beams, seen = searched(log_probs, how, 6)
    again, _ = searched(log_probs, how, 6)
    assert [t.tokens.tolist() for t in beams.best(n)] == [t.tokens.tolist() for t in again.best(n)]
    for step, state in enumerate(seen):  # go back to any step and go on: the same end
        assert state.length == step
        resumed = state
        while not resumed.done:
            resumed = resumed.advanced(log_probs(resumed.tokens), how, stops(how.ends, 6)).beams
        assert [t.score for t in resumed.best(n)] == [t.score for t in beams.best(n)]


def test_a_text_that_ends_below_the_n_best_is_dropped():
    log_probs = torch.log(torch.tensor([[0.1, 0.6, 0.3]]))  # token 0 ends a text and ranks third
    move = Beams.start(CPU).advanced(log_probs, rules(2, ends=(0,)), lambda texts: texts[:, -1] == 0)
    assert move.tokens.tolist() == [1, 2]
    assert not move.beams.ended
    move = Beams.start(CPU).advanced(log_probs, rules(3, ends=(0,)), lambda texts: texts[:, -1] == 0)
    assert [text.tokens.tolist() for text in move.beams.ended] == [[0]]


def test_length_counts_the_answer_or_prompt_and_answer_without_its_end():
    generated, full = rules(2, ends=(9,)), rules(2, prompt=20, ends=(9,))
    assert generated.score(-6.0, 3, last=9) == -2
    assert full.score(-6.0, 3, last=9) == pytest.approx(-6 / 22)
    assert full.score(-6.0, 3, last=8) == pytest.approx(-6 / 23)
    assert rules(2, penalty=0.0).score(-6.0, 3, last=9) == -6
    assert rules(2, penalty=2.0).score(-6.0, 3, last=9) == pytest.approx(-6 / 9)


def test_full_length_prefers_the_shorter_of_two_texts_that_generated_length_would_not():
    short, long = (-3.0, 2), (-4.0, 4)  # log-probability and length
    score = {name: [how.score(*text, last=1) for text in (short, long)] for name, how in
             (("generated", rules(2)), ("full", rules(2, prompt=600)))}  # fmt: skip
    assert score["generated"][1] > score["generated"][0]
    assert score["full"][0] > score["full"][1]


def test_one_beam_is_greedy_and_stops_at_the_first_end():
    log_probs = toy(3, 5, 9)
    greedy = []
    while not greedy or (greedy[-1] != 0 and len(greedy) < 9):
        greedy.append(int(log_probs(torch.tensor([greedy], dtype=torch.long))[0].argmax()))
    beams, seen = searched(log_probs, rules(1, ends=(0,), longest=9), 9)
    assert beams.best()[0].tokens.tolist() == greedy
    assert len(seen) == len(greedy)
    assert math.isfinite(beams.best()[0].score)
