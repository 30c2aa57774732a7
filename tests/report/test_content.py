"""Gathering a run: the prompt's text, regions in order, padding and ends left out."""

from __future__ import annotations

from types import SimpleNamespace

from lvlm_saliency.report.content import run_of

from .fabricated import CAPTION, PROMPT, fabricated


def test_context_is_the_prompts_text_without_the_picture():
    trace, words = fabricated(start=2)
    run = run_of(trace, words)
    assert "".join(item.text for item in run.context if item.region == "prompt") == " ".join(PROMPT)
    assert "".join(item.text for item in run.context if item.region == "system") == "<s> <s>"
    assert all(trace.sequences[0, item.position] == item.position for item in run.context)
    assert "".join(run.tokens) == " ".join(CAPTION)


def test_without_a_processor_tokens_are_ids():
    trace, _ = fabricated()
    run = run_of(trace)
    assert run.tokens[0].strip() == f"\u27e8{trace.token_ids[0, 0].item()}\u27e9"
    assert not run.context


def test_length_ends_with_the_sample():
    trace, words = fabricated(batch=2)
    trace.valid[1, 10:] = False
    assert run_of(trace, words, sample=1).length == 10
    assert len(run_of(trace, words, sample=1).tokens) == 10


def test_candidates_are_named():
    trace, words = fabricated()
    step = SimpleNamespace(token_id=3, candidates={3: 0.1, 70: None}, rejected=[71])
    assert set(run_of(trace, words, steps=[step]).candidate_names) == {3, 70, 71}
