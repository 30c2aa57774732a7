"""Answers and errors, in this process."""

from __future__ import annotations

import pytest

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.systems import system

SGRS = "sgrs:alpha=0.9;order=greedy+locore:beta=0.3"


@pytest.mark.parametrize("methods", ["greedy", "locore:beta=0.15", SGRS])
def test_answers_are_those_of_our_own_chat(tasks, model, methods):
    lmm = model(methods)
    answers, score = tasks.run(lmm)
    one, chat = system(methods.replace(";", ","), 7), ls.Chat.load("scenes")
    sampled = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
    want = []
    for number, row in enumerate(tasks.rows):
        pictures = [row["image"]] if row["image"] is not None else []
        query = ls.Query(messages=[ls.Message("user", [*pictures, row["question"]])])
        how = sampled if one.decides and pictures else {}
        acting = one.methods if pictures else ()
        want += chat.ask([query], acting, sample_ids=[number], max_new_tokens=4, **how)
    assert answers == [answer.text for answer in want]
    right = [text.strip().lower().startswith(row["answer"]) for text, row in zip(answers, tasks.rows, strict=True)]
    assert 0 < score == sum(right) / len(right)
    assert lmm.plain == 1


def test_the_same_by_name_by_messages_and_in_other_batches(tasks, model):
    answers = tasks.run(model(SGRS))
    given = {"model_args": f"pretrained=scenes,methods={SGRS},seed=7", "batch_size": 9}
    assert tasks.run("lvlm_saliency", **given) == answers
    assert tasks.run(model(SGRS, batch_size=1), "scenes_messages") == answers


def test_an_instance_is_asked_with_six_arguments(tasks, model):
    """The guide of lmms-eval names five."""
    lmm, seen = model(), []
    plain = lmm.generate_until
    lmm.generate_until = lambda requests: seen.extend(one.args for one in requests) or plain(requests)
    tasks.run(lmm)
    assert {len(args) for args in seen} == {6}
    assert [args[0] for args in seen] == [row["question"] for row in tasks.rows]
    assert [args[3:] for args in seen] == [(number, "scenes_questions", "test") for number in range(len(tasks.rows))]


def test_an_error_is_no_empty_answer(tasks, model, monkeypatch):
    lmm = model()
    monkeypatch.setattr(lmm.chat, "ask", lambda *given, **settings: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tasks.run(lmm)


def test_what_is_not_served_raises(tasks, model):
    with pytest.raises(SettingError, match="repetition_penalty"):
        tasks.run(model(), gen_kwargs="repetition_penalty=1.2")
    with pytest.raises(SettingError, match="model_args that are not known: betas"):
        tasks.run("lvlm_saliency", model_args="pretrained=scenes,betas=3")
    for asked, line in (("loglikelihood", "likelihoods"), ("generate_until_multi_round", "several rounds")):
        with pytest.raises(SettingError, match=line):
            getattr(model(), asked)([])


def test_repeated_answers_have_draws_of_their_own(tasks, model):
    """`--repeats` measures how stable answers are: copies of one would look perfectly stable."""
    once, _ = tasks.run(model("sample"), "scenes_captions")
    samples, _ = tasks.samples(model("sample"), "scenes_captions", repeats=3)
    every = [[text for one in sample["resps"] for text in one] for sample in samples]
    assert all(len(texts) == 3 for texts in every)
    assert [texts[0] for texts in every[:-1]] == once[:-1]
    assert sum(len(set(texts)) > 1 for texts in every[:-1]) >= len(every) // 2


def test_cached_answers_are_those_of_the_same_methods(tasks, model, tmp_path, monkeypatch):
    lmm = model("sample", dtype="float32")
    first, score = tasks.run(lmm, "scenes_captions", use_cache=str(tmp_path))
    again = model("sample", dtype="float32")
    monkeypatch.setattr(again.chat, "ask", lambda *given, **settings: pytest.fail("a cached answer was asked for"))
    assert tasks.run(again, "scenes_captions", use_cache=str(tmp_path)) == (first, score)
    other, _ = tasks.run(model(dtype="float32"), "scenes_captions", use_cache=str(tmp_path))
    assert other == tasks.run(model(dtype="float32"), "scenes_captions")[0]
    assert other != first
