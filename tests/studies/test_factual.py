"""`factual`: what it keeps, whether it finds what was planted, and its command."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.chat import Chat
from lvlm_saliency.cli import main
from lvlm_saliency.errors import InputError, ModelError
from lvlm_saliency.evaluation.runner import Silent
from lvlm_saliency.studies import STUDIES, open_studies
from lvlm_saliency.studies.factual import asking
from lvlm_saliency.studies.factual.answers import answers_of
from lvlm_saliency.studies.factual.asking import NEW_TOKENS, REGIONS, Asked, ask, asked_as
from lvlm_saliency.studies.factual.questions import SHOWN, kinds
from lvlm_saliency.studies.factual.study import Factual
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS
from zoo import FAMILIES


@pytest.fixture(scope="module")
def chat():
    return Chat(*FAMILIES["llama"].build())


# --- asking ---


def some(count=6):
    return [own[SHOWN] for own in kinds().values()][:count]


@pytest.mark.parametrize("template", [True, False])
def test_each_answer_is_what_the_model_writes_and_its_figures_are_those_of_a_trace(template, tmp_path):
    model, tokenizer = FAMILIES["llama"].fresh()
    if not template:
        tokenizer.chat_template = None
    chat = Chat(model, tokenizer)
    questions = some()
    asked = ask(chat, questions, tmp_path, 4, Silent())
    assert asked.saliency.shape == (6, NEW_TOKENS, len(asked.layers), len(REGIONS))
    for number, question in enumerate(questions):
        prompt, opened = asked_as(question, tokenizer)
        text = chat.encode([ls.Query(prompt)])
        opening = torch.tensor([tokenizer(opened, add_special_tokens=False)["input_ids"]])
        assert asked.position[number] == opening.shape[1]
        inputs = {"input_ids": torch.cat([text["input_ids"], opening], 1)}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        written = chat.model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        new = written[0, inputs["input_ids"].shape[1] :].tolist()
        assert asked.token_ids[number].tolist() == [*new, *[-1] * (NEW_TOKENS - len(new))]
        trace = ls.trace(chat.model, text, written)
        own = slice(opening.shape[1], opening.shape[1] + len(new))
        assert np.allclose(asked.logprob[number, : len(new)], trace.logprobs[0, own], atol=1e-4)
        for at, region in enumerate(REGIONS):
            for read, kept in ((trace.scores, asked.saliency), (trace.attention_scores, asked.attention)):
                wanted = torch.stack([read(region, [layer])[0, own] for layer in trace.layers], -1)
                assert np.allclose(kept[number, : len(new), :, at], wanted, atol=1e-4)


def test_a_model_without_a_chat_template_goes_on_with_the_examples(chat):
    question = some(1)[0]
    prompt, opening = asked_as(question, chat.tokenizer)
    assert prompt.endswith(f"\nQuestion: {question.text}")
    assert opening == question.opening
    text = "".join(asked_as(question, None))
    assert text == f"{prompt}\nAnswer: {opening}"
    assert text.count("\nAnswer: ") == SHOWN + 1


def test_a_killed_study_goes_on_where_it_stopped(chat, tmp_path, monkeypatch):
    whole = ask(chat, some(), tmp_path / "whole", 2, Silent())
    calls, traced = [], asking._traced

    def dying(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return traced(*given)

    monkeypatch.setattr(asking, "_traced", dying)
    with pytest.raises(KeyboardInterrupt):
        ask(chat, some(), tmp_path / "killed", 2, Silent())
    again = ask(chat, some(), tmp_path / "killed", 2, Silent())
    assert len(calls) == 4  # two, the one that died, and its repetition
    for field in dataclasses.fields(Asked):
        assert np.array_equal(getattr(whole, field.name), getattr(again, field.name), equal_nan=field.name != "layers")


def test_kept_batches_that_cannot_be_used_are_named(chat, tmp_path):
    ask(chat, some(), tmp_path, 4, Silent())
    with pytest.raises(InputError, match=r"000000\.npz is damaged \(it holds other questions\); delete it"):
        ask(chat, some(3), tmp_path, 4, Silent())
    file = tmp_path / "000004.npz"
    arrays = dict(np.load(file))
    for broken in ("logprob", "saliency"):
        np.savez(file, **{name: values for name, values in arrays.items() if name != broken})
        with pytest.raises(InputError, match=rf"000004\.npz is damaged \({broken} is missing"):
            ask(chat, some(), tmp_path, 4, Silent())
    np.savez(file, **arrays | {"entropy": np.full_like(arrays["entropy"], np.nan)})
    with pytest.raises(InputError, match="a figure is missing"):
        ask(chat, some(), tmp_path, 4, Silent())
    file.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"000004\.npz"):
        ask(chat, some(), tmp_path, 4, Silent())


def test_a_model_whose_inputs_are_more_than_text_is_refused(tmp_path):
    with pytest.raises(ModelError, match="asks models of text"):
        ask(Chat(*FAMILIES["qwen2_5_vl"].build()), some(2), tmp_path, 2, Silent())


# --- what it finds ---


def made(chat, effect=0.0, by_kind=0.0, measure="saliency", wrong=0.4, seed=0):
    """The study's questions with answers as they could be. Wrong ones score lower by `effect` deviations; with
    `by_kind`, kinds that are often wrong score lower, and nothing else."""
    random = np.random.default_rng(seed)
    questions = Factual(per_kind=12).questions()
    names = list(dict.fromkeys(one.kind for one in questions))
    chance = np.linspace(0.1, 0.9, len(names)) if by_kind else np.full(len(names), wrong)
    of = np.array([names.index(one.kind) for one in questions])
    labels = random.random(len(questions)) < chance[of]
    ids = [
        chat.tokenizer(" nothing" if label else f" {one.accepted[0]}", add_special_tokens=False)["input_ids"][
            :NEW_TOKENS
        ]
        for one, label in zip(questions, labels, strict=True)
    ]
    # a long answer that is cut would be wrong: such questions are left out
    keep = [at for at, own in enumerate(ids) if len(own) < NEW_TOKENS]
    questions, labels, of = [questions[at] for at in keep], labels[keep], of[keep]
    tokens = np.full((len(keep), NEW_TOKENS), -1)
    for row, at in enumerate(keep):
        tokens[row, : len(ids[at])] = ids[at]
    shape = (*tokens.shape, 2, len(REGIONS))
    arrays = {name: random.normal(size=shape) for name in ("saliency", "attention")}
    low = by_kind * chance[of] if by_kind else effect * labels
    arrays[measure] = arrays[measure] - low[:, None, None, None] * np.sqrt(1 / 2)
    asked = Asked(
        layers=[0, 1],
        position=of % 3 + 4,
        token_ids=tokens,
        logprob=-random.exponential(size=tokens.shape),
        entropy=random.exponential(size=tokens.shape),
        **arrays,
    )
    return questions, asked, labels


def page_of(chat, **planted):
    questions, asked, labels = made(chat, **planted)
    page = Factual().page(questions, asked, chat.tokenizer, {}, resamples=60, seed=0)
    assert [row["wrong"] for row in page.data["answers"]] == labels.tolist()
    return [finding.verdict for finding in page.findings], page


def test_a_planted_effect_is_found(chat):
    found, page = page_of(chat, effect=1.5)
    assert found[:4] == [HOLDS] * 4
    assert found[4:] == [HOLDS] * 3  # log-probability and attention were left alone
    row = next(
        r
        for r in page.data["controls"]
        if (r["score"], r["held_equal"]) == ("saliency: output", "same kind and position")
    )
    assert row["auroc_low"] < 0.856 < row["auroc_high"]  # Phi(1.5 / sqrt 2)


def test_the_opposite_effect_is_told_as_such(chat):
    found, page = page_of(chat, effect=-1.5)
    assert found[:6] == [FAILS] * 6
    assert found[6] != HOLDS  # high and not low saliency would be what adds
    assert "higher, not lower" in page.findings[0].text


def test_where_nothing_differs_nothing_is_found(chat):
    found, _ = page_of(chat, seed=1)
    assert HOLDS not in found[:4]
    assert found[6] == FAILS


def test_kinds_that_are_hard_and_score_low_are_seen_through(chat):
    found, page = page_of(chat, by_kind=4.0)
    assert found[1] == HOLDS
    assert found[0] != HOLDS
    assert {row["kind"] for row in page.data["kinds"]} == set(kinds())


def test_attention_that_does_better_is_named(chat):
    found, page = page_of(chat, effect=1.5, measure="attention")
    assert found[5] == FAILS
    assert "Plain attention" in page.findings[5].text


def test_the_page_is_written_and_the_same_seed_gives_the_same(chat, tmp_path):
    pages = [page_of(chat, effect=0.5)[1] for _ in range(2)]
    assert str(pages[0].data) == str(pages[1].data)
    pages[0].write(tmp_path)
    assert (tmp_path / "layers.png").exists()
    assert "<script" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("token", ["first", "last", "mean"])
def test_the_token_that_speaks_for_an_answer(chat, token):
    questions, asked, _ = made(chat)
    found = answers_of(questions, asked, chat.tokenizer, token)
    for row in range(0, len(found), 40):
        at = questions.index(found.questions[row])
        first = found.position[row] - asked.position[at]
        own = asked.logprob[at, first : first + found.length[row]]
        assert found.logprob[row] == pytest.approx({"first": own[0], "last": own[-1], "mean": own.mean()}[token])


def test_answers_without_a_word_are_left_out_and_counted(chat):
    questions, asked, _ = made(chat)
    dot = chat.tokenizer(".", add_special_tokens=False)["input_ids"][0]
    asked.token_ids[:3] = [dot, *[-1] * (NEW_TOKENS - 1)]
    page = Factual().page(questions, asked, chat.tokenizer, {}, resamples=40, seed=0)
    assert len(page.data["answers"]) == len(questions) - 3
    assert "3 answers hold no word" in page.parts[0].text


# --- the command ---


def test_all_leaves_it_out():
    assert [one.name for one in open_studies(["all"])] == [name for name in STUDIES if name != "factual"]
    assert [one.name for one in open_studies(["factual:per_kind=3"])] == ["factual"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "the model that ships knows nothing"),
        (["--model", "nowhere/x", "--n", "20"], "leave --n out"),
        (["--model", "nowhere/x", "--max-new-tokens", "9"], "leave --max-new-tokens out"),
        (["--model", "nowhere/x", "--labels", "chair"], "leave --labels out"),
    ],
)
def test_what_would_change_nothing_is_refused_before_a_model_is_loaded(tmp_path, capsys, more, said):
    assert main(["study", "factual", *more, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error.splitlines()[-1]


def test_a_model_that_knows_nothing_is_no_study(tmp_path, capsys):
    model, tokenizer = FAMILIES["llama"].build()
    model.save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    out = tmp_path / "out"
    assert main(["study", "factual:per_kind=1", "--model", str(tmp_path / "tiny"), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert re.search(r"of 23 questions this model answers \d+ right and \d+ wrong: too few to compare", error)
    assert "Traceback" not in error
    assert list((out / "kept/questions").rglob("*.npz"))


def test_verdicts_stay_open_where_there_is_no_interval(chat):
    questions, asked, _ = made(chat, effect=1.0)
    page = Factual().page(questions, asked, chat.tokenizer, {}, resamples=0, seed=0)
    assert {one.verdict for one in page.findings} == {CANNOT_TELL}
