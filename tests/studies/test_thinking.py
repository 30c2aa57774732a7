"""Studies of a model that thinks: words of its answer are labelled, scored and weakened; its thinking is left alone."""

from __future__ import annotations

import copy

import pytest

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.model.thinking import Ear, Marks
from lvlm_saliency.studies.behaviour.first_draws import first_draws
from lvlm_saliency.studies.decay.weakening import Written
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.labels import labelled, labeller
from lvlm_saliency.studies.settings import StudySettings
from lvlm_saliency.studies.texts import Span, blanked

OPEN, CLOSE = "Please", "Here"
"""Words that stand for the marks: the scenes model's tokenizer knows no others."""


@pytest.fixture(scope="module")
def thinker(scenes, tmp_path_factory):
    """A decoder of the shipped model with a template by which it thinks, a benchmark, and the ids of some words."""
    model, processor = scenes[0], copy.deepcopy(scenes[1])
    processor.tokenizer.response_template = {"fields": {"thinking": {"open": OPEN, "close": CLOSE}}}
    lab = Lab(StudySettings(out=tmp_path_factory.mktemp("lab"), n=1), model=model, processor=processor)

    def ids(text):
        return processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    return lab.decoder, open_benchmark("scenes-caption", n=1), ids


def words(text):
    return [(text.text[s.start : s.end], s.hallucinated, s.name, s.first) for s in text.spans]


@pytest.mark.parametrize("opened", [True, False])
def test_only_words_of_the_answer_are_labelled(thinker, opened):
    decoder, benchmark, ids = thinker
    there = sorted(next(iter(benchmark.scenes)).present)[0]
    thought = [*(ids(OPEN) if opened else []), *ids(f"We see a {there} and a dog and a zebra ."), *ids(CLOSE)]
    answer = [*ids(f"There is a {there} and a dog and a {there} ."), decoder.tokenizer.eos_token_id]
    rows = {0: {"token_ids": [*thought, *answer]}}
    (found,) = labelled(benchmark, rows, decoder.tokenizer, decoder.answers)
    (alone,) = labelled(benchmark, {0: {"token_ids": answer}}, decoder.tokenizer, decoder.answers)
    assert words(found) == words(alone)
    assert [first for *_, first in words(found)] == [True, True, False]
    assert found.token_ids == (*thought, *answer)
    assert [[at - len(thought) for at in tokens] for tokens in found.span_tokens()] == alone.span_tokens()
    (whole,) = labelled(benchmark, rows, decoder.tokenizer)
    assert len(whole.spans) > len(found.spans), "without marks the thinking is text like any other"
    assert decoder.said(benchmark.items[0], rows[0]["token_ids"]) == decoder.said(benchmark.items[0], answer)
    assert labelled(benchmark, {0: {"token_ids": thought[:-1] if opened else thought}}, decoder.tokenizer,
                    decoder.answers)[0].spans == ()  # fmt: skip


def test_a_model_that_does_not_think_is_labelled_as_before(scenes, thinker):
    decoder, benchmark, ids = thinker
    plain = Decoder(scenes[0], scenes[1], decoder.settings)
    item, text = benchmark.items[0], ids(f"{OPEN} a dog . {CLOSE} a cat .")
    assert plain.answers(item, text) is None
    assert plain.said(item, text) == scenes[1].tokenizer.decode(text, skip_special_tokens=True).strip()
    assert decoder.answers(item, ids("There is a dog .")) is None


def test_draws_of_the_thinking_are_left_out(thinker):
    decoder, benchmark, ids = thinker
    thought, answer = [*ids(OPEN), *ids("a dog ."), *ids(CLOSE)], ids("a dog .")

    def record(token):
        return {"tested": True, "rejected": [], "fallback": False, "top": token}

    def draws(text):
        rows = [{"index": 0, "image": "0", "token_ids": text, "steps": [record(token) for token in text]}]
        return first_draws(rows, benchmark, labeller(benchmark), decoder.tokenizer, None, decoder.answers)

    found, alone = draws([*thought, *answer]), draws(answer)
    assert len(found) == len(alone) == len(answer)
    assert (found.kind == alone.kind).all()
    assert (found.again == alone.again).all()
    assert (found.position == alone.position + len(thought)).all()


def test_words_of_the_thinking_are_not_held():
    def label(text):
        at = [n for n in range(len(text)) if text.startswith("dog", n)]
        return [Span(one, one + 3, False, "dog", one == at[0]) for one in at]

    texts = ["<think>", "a", " dog", " here", "</think>", " A", " dog", " sits", "."]
    marks = Marks("<think>", ("</think>",))
    for prompt, pieces in (("", texts), ("<think>", texts[1:])):
        sample = Written(label, 0, Ear(marks, prompt))
        for number, piece in enumerate(pieces):
            sample.append(number, 0.9, piece, 0.5, piece)
        assert sample.held == [pieces.index(" A") + 1]
        assert "".join(sample.pieces).split() == ["A", "dog", "sits."]
        assert list(map(len, sample.pieces)) == list(map(len, pieces))


def test_blanks_keep_all_places():
    assert blanked(["a", " bc", "d"], [(1, 2)]) == [" ", " bc", " "]
    assert blanked(["a", "b"], None) == ["a", "b"]
