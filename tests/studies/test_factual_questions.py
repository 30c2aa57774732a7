"""The questions of `factual`, and what it calls a right answer."""

from __future__ import annotations

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lvlm_saliency.errors import SettingError
from lvlm_saliency.studies.factual.asking import asked_as
from lvlm_saliency.studies.factual.judging import judge
from lvlm_saliency.studies.factual.order import in_words, roman
from lvlm_saliency.studies.factual.questions import SHOWN, kinds
from lvlm_saliency.studies.factual.study import Factual


def test_there_are_over_a_thousand_questions_of_many_kinds():
    questions = Factual().questions()
    assert len(questions) >= 1000
    assert len({one.kind for one in questions}) >= 20
    assert len({one.text for one in questions}) == len(questions)
    capitals = sum("capital" in one.kind for one in questions)
    assert capitals < len(questions) / 10


def test_every_answer_of_the_tables_is_right_and_no_other_row_is():
    for own in kinds().values():
        for question in own:
            assert all(variant.strip() == variant and variant for variant in question.accepted)
            assert question.answer in asked_as(own[-1], None)[0] or question not in own[:SHOWN]
            for variant in question.accepted:
                judged = judge(f" {variant}.\nQuestion: more", question.accepted)
                assert judged.right, question
        assert not any(judge("nothing of the kind", one.accepted).right for one in own)


@pytest.mark.parametrize(
    ("text", "accepted", "right", "said"),
    [
        (" Paris.", ["Paris"], True, "Paris"),
        (" the PARIS, of course", ["Paris"], True, "PARIS"),
        (" Parisian", ["Paris"], False, "Parisian"),
        (" Bogotá.\nIt is", ["Bogota"], True, "Bogotá"),
        (" a", ["a"], True, "a"),
        (' "a".', ["a"], True, 'a"'),
        (" an apple", ["a"], False, "apple"),
        (" 19.5 degrees", ["19"], False, "19.5 degrees"),
        (" 1,000.", ["1000"], True, "1,000"),
        (" twenty-one", ["21"], True, "twenty-one"),
        (" 211", ["21"], False, "211"),
        (" New York City", ["Albany"], False, "New York City"),
        (" mice\n\nmouse", ["mice"], True, "mice"),
        (" J.R.R. Tolkien.", ["J.R.R. Tolkien"], True, "J.R.R"),
    ],
)
def test_what_is_right(text, accepted, right, said):
    found = judge(text, accepted)
    assert (found.right, text[found.start : found.end]) == (right, said)


@pytest.mark.parametrize("text", ["", " ", ".\n", "\n\n", "?!"])
def test_where_no_word_is_there_is_no_answer(text):
    assert judge(text, ["Paris"]) is None


@given(st.text(max_size=40), st.sampled_from([one for own in kinds().values() for one in own]))
def test_whatever_is_written_the_answer_lies_within_it(text, question):
    found = judge(text, question.accepted)
    if found is None:
        first = text.lstrip().partition("\n")[0]
        assert re.search(r"[^\W_]", first) is None
    else:
        assert 0 <= found.start < found.end <= len(text)
        assert text[found.start].isalnum()


@given(st.integers(0, 99))
def test_numbers_in_words_and_signs(number):
    assert judge(in_words(number), [str(number)]).right
    if 0 < number < 90:
        values = {"L": 50, "X": 10, "V": 5, "I": 1}
        signs = [values[sign] for sign in roman(number)]
        assert number == sum(-a if a < max(signs[at:]) else a for at, a in enumerate(signs))


@pytest.mark.parametrize("settings", [{"per_kind": -1}, {"per_kind": 2.5}, {"per_kind": True}, {"token": "middle"}])
def test_settings_out_of_range(settings):
    with pytest.raises(SettingError, match="factual"):
        Factual(**settings)
