"""The controls of the guard: who knows the labels, who acts at random as often, who acts on what is named late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.errors import InputError
from lvlm_saliency.guard.verdicts import Judged, Oracle, Position, Random, Rates

WORDS = st.builds(
    Judged, st.integers(0, 40), st.sampled_from("abcdef"), st.integers(0, 6), st.integers(0, 3), st.integers(0, 8)
)
JUDGED = st.lists(st.tuples(WORDS, st.booleans()), max_size=60)


def _many(acted) -> list[tuple[Judged, bool]]:
    """2,000 texts of five sentences, an object in each, at the first attempt and at a second."""
    words = [Judged(i, f"o{s}", s, attempt, s) for i in range(2000) for s in range(5) for attempt in (0, 1)]
    return [(word, acted(word)) for word in words]


def test_the_oracle_acts_on_what_is_absent_and_nothing_else():
    oracle = Oracle({3: {"dog", "cat"}})
    assert not oracle.acts(Judged(3, "dog", 0, 0, 0))
    assert oracle.acts(Judged(3, "cup", 1, 2, 4))
    with pytest.raises(InputError, match="sample 4"):
        oracle.acts(Judged(4, "dog", 0, 0, 0))


def test_a_guard_that_never_acted_has_controls_that_never_act():
    judged = _many(lambda word: False)
    sources = (
        Random(Rates.measured(judged)),
        Position.measured(judged),
        Random(Rates.measured([])),
        Position.measured([]),
    )
    assert not any(source.acts(word) for source in sources for word, _ in judged)


def test_random_acts_at_the_rate_of_each_sentence():
    judged = _many(lambda word: word.sample % 10 < (word.sentence if not word.attempt else 5))
    rates = Rates.measured(judged)
    assert rates.first == (0.0, 0.1, 0.2, 0.3, 0.4)
    assert rates.again == 0.5
    gate = Random(rates, seed=1)
    for sentence in range(5):
        here = [gate.acts(w) for w, _ in judged if w.sentence == sentence and not w.attempt]
        assert sum(here) / len(here) == pytest.approx(sentence / 10, abs=0.03)
    again = [gate.acts(word) for word, _ in judged if word.attempt]
    assert sum(again) / len(again) == pytest.approx(0.5, abs=0.03)
    assert Rates.measured(judged).of(Judged(0, "x", 99, 0, 0)) == 0.4, "further sentences: as the last one"


def test_random_looks_at_nothing_but_its_own_draw():
    gate, word = Random(Rates((0.5,), 0.5)), Judged(1, "dog", 0, 0, 0)
    assert gate.acts(word) == gate.acts(word)
    draws = {Random(Rates((0.5,), 0.5), seed).acts(word) for seed in range(20)}
    assert draws == {True, False}


def test_position_acts_on_the_latest_words_as_often():
    judged = _many(lambda word: word.sample % 10 < (3 if not word.attempt else 1))
    gate = Position.measured(judged)
    assert gate.first == (3, pytest.approx(0.5)), "all of the last fifth, and half of the one before"
    for attempt, rate in ((0, 0.3), (1, 0.1)):
        acted = [(word, gate.acts(word)) for word, _ in judged if word.attempt == attempt]
        assert sum(yes for _, yes in acted) / len(acted) == pytest.approx(rate, abs=0.02)
        assert not any(yes for word, yes in acted if word.before < 3)


@given(JUDGED)
def test_position_takes_as_many_as_were_acted_on(judged):
    """In expectation: every word above the count, and a share of those at it."""
    gate = Position.measured(judged)
    for count, share, some in (
        (*gate.first, [pair for pair in judged if not pair[0].attempt]),
        (*gate.again, [pair for pair in judged if pair[0].attempt]),
    ):
        above = sum(word.before > count for word, _ in some)
        at = sum(word.before == count for word, _ in some)
        assert above + share * at == pytest.approx(sum(acted for _, acted in some))


@given(JUDGED)
def test_rates_are_shares(judged):
    rates = Rates.measured(judged)
    assert all(0 <= rate <= 1 for rate in (*rates.first, rates.again))
