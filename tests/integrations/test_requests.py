"""What lmms-eval sends, without lmms-eval."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation.systems import system
from lvlm_saliency.integrations.lmms_eval.requests import batches, cut, methods_of, numbers, query_of, wanted

GREEDY = {"num_beams": 1, "do_sample": False, "temperature": None, "top_p": None, "top_k": None}


def test_settings_of_a_task():
    pope = {"max_new_tokens": 16, "temperature": 0, "do_sample": False, "until": ["\n\n", "ASSISTANT:"]}
    assert wanted(pope, draws=False).settings == {**GREEDY, "max_new_tokens": 16}
    assert wanted(pope, draws=False).until == ("ASSISTANT:",)
    # MM-Vet's task gives a temperature and says that it shall not sample.
    cold = {"temperature": 0.2, "do_sample": False}
    assert wanted(cold, draws=False).settings == {**GREEDY, "max_new_tokens": 128}
    warm = wanted({"temperature": 0.2, "top_p": 0.9}, draws=False).settings
    assert warm == {
        "max_new_tokens": 128,
        "num_beams": 1,
        "do_sample": True,
        "temperature": 0.2,
        "top_p": 0.9,
        "top_k": 0,
    }
    assert wanted(cold, draws=True).settings["do_sample"] is True


@pytest.mark.parametrize(
    ("asked", "line"), [({"repetition_penalty": 1.2}, "repetition_penalty"), ({"num_beams": 5}, "methods=beam")]
)
def test_what_is_not_served_is_refused(asked, line):
    with pytest.raises(SettingError, match=line):
        wanted(asked, draws=False)


def test_methods_have_semicolons_where_lmms_eval_splits():
    one = system(methods_of("sgrs:alpha=0.9;order=greedy+locore:beta=0.3"), 7)
    assert [method.name for method in one.methods] == ["sgrs", "locore"]
    assert (one.methods[0].alpha, one.methods[0].order, one.methods[0].seed) == (0.9, "greedy", 7)


def test_a_conversation_with_its_pictures():
    picture = Image.new("L", (4, 4))
    query = query_of([("system", [("text", "Be brief.")]), ("user", [("image", picture), ("text", "What is it?")])])
    assert [message.role for message in query.messages] == ["system", "user"]
    assert query.question == "What is it?"
    assert query.pictures[0].mode == "RGB"
    for bad in ([("user", [("video", "x")])], [("tool", [("text", "x")])]):
        with pytest.raises(InputError, match="lmms-eval sent"):
            query_of(bad)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans())), st.integers(1, 4))
def test_every_request_is_in_one_batch_of_its_kind(kinds, size):
    found = batches(kinds, size)
    assert sorted(index for batch in found for index in batch) == list(range(len(kinds)))
    assert all(len(batch) <= size and len({kinds[index] for index in batch}) == 1 for batch in found)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.just("test"), st.integers(0, 3))))
def test_numbers_are_those_of_documents_and_never_the_same_for_an_answer_asked_again(documents):
    found = numbers(documents)
    assert len({(*document[:2], number) for document, number in zip(documents, found, strict=True)}) == len(documents)
    firsts = {document: number for document, number in reversed(list(zip(documents, found, strict=True)))}
    assert all(number == document[2] for document, number in firsts.items())


def test_a_text_ends_at_the_first_stop():
    assert cut("a b c", ("c", "b")) == "a "
    assert cut("a b c", ()) == "a b c"


def test_nothing_of_lmms_eval_is_imported_before_it_is_asked_for():
    import lvlm_saliency.integrations.lmms_eval

    assert not [name for name in sys.modules if name.startswith("lmms_eval")]
    assert callable(lvlm_saliency.integrations.lmms_eval.manifests)
