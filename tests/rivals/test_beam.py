"""Beam search on every family: the texts of transformers' own, scores that can be recomputed, caches left alone."""

from __future__ import annotations

import random

import pytest
import torch

import lvlm_saliency as ls
from engine.reference import alone, extended
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.attention.session import session
from lvlm_saliency.decoding.branches import Branch
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.beam import Beam
from zoo import FAMILIES
from zoo.vision import prompt_embeddings

LENGTH = 8


def ends_of(family, seed=1, count=25):
    """Ids that end a text in these tests, so that the tiny models' texts do end, at different lengths."""
    return [*random.Random(seed).sample(range(20, 300), count), family.eos_token_id]


def for_beams(model, inputs):
    """The inputs for transformers' own beam search.

    That runs a tower once and repeats `pooler_output` of its features for the beams; Llama 4 reads their
    `last_hidden_state`, and its call fails. So it gets the prompt's embeddings, with the pictures in their places.
    """
    if model.config.model_type != "llama4":
        return inputs
    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    return {**given, "inputs_embeds": prompt_embeddings(model, inputs)}


def as_alone(family, inputs):
    """The samples of a batch that transformers gives what it gives them alone: all, or those without padding."""
    if family.padded:
        return range(len(inputs["input_ids"]))
    found = inputs["attention_mask"].all(dim=-1).nonzero().flatten().tolist()
    assert found
    return found


def by_transformers(model, inputs, beam, **more):
    return model.generate(
        **for_beams(model, inputs),
        num_beams=beam.n_beams,
        length_penalty=beam.length_penalty,
        early_stopping=beam.early_stopping,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **more,
    )


def answers(sequences, start, ends):
    """Each answer up to and with its end."""
    found = []
    for row in sequences[:, start:].tolist():
        stop = next((at for at, token in enumerate(row) if token in ends), len(row) - 1)
        found.append(row[: stop + 1])
    return found


def check_same(model, inputs, beam, ends, **more):
    more = {"max_new_tokens": LENGTH, "eos_token_id": ends, **more}
    want = by_transformers(model, inputs, beam, **more)
    got = ls.generate(model, inputs, [beam], **more)
    start = inputs["input_ids"].shape[1]
    assert [[step.token_id for step in steps] for steps in got.steps] == answers(want.sequences, start, ends)
    assert answers(got.sequences, start, ends) == answers(want.sequences, start, ends)
    torch.testing.assert_close(got.sequences_scores, want.sequences_scores, atol=1e-4, rtol=1e-4)
    return got


@pytest.mark.each_kind
def test_it_writes_what_transformers_beam_search_writes(family):
    model, _ = family.build()
    check_same(model, family.inputs(n=3), Beam(), ends_of(family))


@pytest.mark.parametrize("early", [False, True, "never"])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_under_every_rule_of_length_and_stopping(early, penalty):
    family = FAMILIES["llava"]
    model, _ = family.build()
    beam = Beam(n_beams=3, length_penalty=penalty, early_stopping=early)
    check_same(model, family.inputs(n=2), beam, ends_of(family, 5, 40), max_new_tokens=12)


def test_under_logits_processors_and_for_several_texts_each():
    family = FAMILIES["llava"]
    model, _ = family.build()
    more = {"min_new_tokens": 4, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "num_return_sequences": 3}
    got = check_same(model, family.inputs(n=2), Beam(n_beams=4), ends_of(family), **more)
    assert len(got.sequences) == 6


@pytest.mark.each_kind
def test_one_beam_is_greedy_decoding(family):
    model, _ = family.build()
    inputs, ends = family.inputs(n=3), ends_of(family, 2)
    greedy = model.generate(**inputs, max_new_tokens=LENGTH, do_sample=False, eos_token_id=ends)
    got = ls.generate(model, inputs, [Beam(n_beams=1)], max_new_tokens=LENGTH, eos_token_id=ends)
    assert torch.equal(got.sequences, greedy)


def log_probability(model, inputs, answer):
    """log p of an answer after one prompt, in one pass without a cache."""
    sequence = torch.cat([inputs["input_ids"], torch.tensor([answer])], dim=-1)
    mask = torch.ones_like(sequence)
    more = extended(inputs, len(answer))
    with torch.no_grad():
        out = model(input_ids=sequence, attention_mask=mask, use_cache=False, **more)
    rows = torch.log_softmax(out.logits[0, inputs["input_ids"].shape[1] - 1 : -1].float(), dim=-1)
    return float(rows.gather(1, torch.tensor(answer)[:, None]).sum())


@pytest.mark.each_kind
def test_the_score_is_the_texts_own_log_probability(family):
    model, _ = family.build()
    inputs, ends = family.inputs(n=2), ends_of(family)
    out = ls.generate(model, inputs, [Beam(n_beams=3)], max_new_tokens=LENGTH, eos_token_id=ends)
    for sample in as_alone(family, inputs):
        answer = [step.token_id for step in out.steps[sample]]
        total = log_probability(model, alone(family, 2, sample), answer)
        assert float(out.sequences_scores[sample]) == pytest.approx(total / len(answer), abs=1e-3)


def test_full_length_counts_a_picture_once_and_padding_never():
    family = FAMILIES["llava"]
    model, _ = family.build()
    ends = ends_of(family)
    more = {"max_new_tokens": LENGTH, "eos_token_id": ends}
    beam = Beam(n_beams=3, length_norm="full")
    batch = ls.generate(model, family.inputs(n=3), [beam], **more)
    for sample, steps in enumerate(batch.steps):
        inputs = alone(family, 3, sample)
        single = ls.generate(model, inputs, [beam], **more)
        answer = [step.token_id for step in steps]
        assert [step.token_id for step in single.steps[0]] == answer
        prompt = int((inputs["input_ids"] != model.config.image_token_id).sum()) + 1
        counted = prompt + len(answer) - (answer[-1] in ends)
        score = log_probability(model, inputs, answer) / counted
        assert float(batch.sequences_scores[sample]) == pytest.approx(score, abs=1e-3)
        assert float(single.sequences_scores[0]) == pytest.approx(score, abs=1e-3)


@pytest.mark.each_kind
def test_a_branch_leaves_the_one_it_came_from_alone(family):
    model, _ = family.build()
    inputs = family.inputs(n=2)
    tokens = torch.tensor([[40, 41, 42, 43], [50, 51, 52, 53], [60, 61, 62, 63]])
    rows = torch.tensor([1, 0, 1])

    def loop(model, input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs):
        with session(model) as state, torch.no_grad():
            state.prompt = Prompt.read(model, input_ids, model_kwargs.get("attention_mask"), input_ids.shape[1])
            prompt, _ = Branch.of_prompt(model, state, input_ids, generation_config, model_kwargs, edited=False)
            fork = prompt.fork(rows)
            at_once = fork.feed(tokens)
            aside = fork.fork(torch.tensor([0, 0, 2, 1, 1]))
            aside.feed(torch.tensor([[70], [71], [72], [73], [74]]))  # candidates, thrown away
            other = prompt.fork(rows)
            one_by_one = [other.feed(tokens[:, at : at + 1]) for at in range(4)][-1]
            assert prompt.cache.get_seq_length() == input_ids.shape[1]
            assert fork.ids[:, -4:].tolist() == tokens.tolist()
            more = torch.tensor([[80], [81], [82]])
            return at_once, one_by_one, fork.feed(more), other.feed(more)

    at_once, one_by_one, after, untouched = model.generate(
        **inputs, custom_generate=loop, max_new_tokens=3, do_sample=False
    )
    torch.testing.assert_close(at_once, one_by_one, atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(after, untouched, atol=2e-4, rtol=2e-4)
    for row, sample in enumerate(rows.tolist()):
        if sample not in as_alone(family, inputs):
            continue
        single = alone(family, 2, sample)
        text = torch.cat([single["input_ids"], tokens[row : row + 1]], dim=-1)
        with torch.no_grad():
            fresh = model(
                input_ids=text, attention_mask=torch.ones_like(text), use_cache=False, **extended(single, 4)
            ).logits[0, -1]
        torch.testing.assert_close(at_once[row], fresh.float(), atol=2e-3, rtol=2e-3)


def test_the_prompt_runs_once_and_each_step_has_a_row_per_beam():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    fed = []
    handle = model.get_decoder().register_forward_pre_hook(
        lambda _m, _a, kwargs: fed.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    beam = Beam(n_beams=4)
    out = ls.generate(model, inputs, [beam], max_new_tokens=6, min_new_tokens=6)
    handle.remove()
    assert fed == [tuple(inputs["input_ids"].shape), *[(2 * beam.rows_per_token, 1)] * 5]
    assert out.cost.forwards == len(fed) == 6
    assert (out.cost.drafted, out.cost.kept) == (2 * 4 * 5, 2 * 6)


def test_a_streamer_gets_the_text_that_won():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)

    class Streamer:
        def __init__(self):
            self.got, self.ended = [], False

        def put(self, value):
            self.got.extend(value.flatten().tolist())

        def end(self):
            self.ended = True

    streamer = Streamer()
    out = ls.generate(model, inputs, [Beam(n_beams=3)], max_new_tokens=5, streamer=streamer)
    assert streamer.got == out.sequences[0].tolist()
    assert streamer.ended


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_beams": 3}, "set n_beams"),
        ({"do_sample": True}, "does not sample"),
        ({"length_penalty": 2.0}, "length_penalty"),
        ({"use_cache": False}, "cache"),
        ({"cache_implementation": "static"}, "StaticCache"),
        ({"num_return_sequences": 6}, "raise n_beams"),
        ({"output_hidden_states": True}, "output_hidden_states"),
        ({"guidance_scale": 2.0}, "guidance_scale"),
    ],
)
def test_what_a_search_cannot_serve_is_refused(settings, said):
    family = FAMILIES["llava"]
    model, _ = family.build()
    with pytest.raises(SettingError, match=said):
        ls.generate(model, family.inputs(n=1), [Beam()], max_new_tokens=3, **settings)


def test_num_beams_that_agrees_is_no_contradiction():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    a = ls.generate(model, inputs, [Beam(n_beams=3)], max_new_tokens=4, num_beams=3)
    b = ls.generate(model, inputs, [ls.method("beam", n_beams=3)], max_new_tokens=4)
    assert torch.equal(a.sequences, b.sequences)


def test_two_searches_do_not_compose():
    family = FAMILIES["llava"]
    model, _ = family.build()
    with pytest.raises(SettingError, match="choose one"):
        ls.generate(model, family.inputs(n=1), [Beam(), ls.method("opera")], max_new_tokens=3)


@pytest.mark.parametrize(
    "knobs", [{"n_beams": 0}, {"length_norm": "prompt"}, {"early_stopping": "soon"}, {"length_penalty": "x"}]
)
def test_knobs_out_of_range_are_refused(knobs):
    with pytest.raises(SettingError):
        Beam(**knobs)


@pytest.mark.each_kind
def test_an_edit_of_attention_acts_on_every_beam(family):
    model, _ = family.build()
    inputs, ends = family.inputs(n=2), ends_of(family)
    edit = ls.LocoRE(beta=2.0, window=3)
    with edit(model):
        want = by_transformers(model, inputs, Beam(n_beams=3), max_new_tokens=LENGTH, eos_token_id=ends)
    got = ls.generate(model, inputs, [edit, Beam(n_beams=3)], max_new_tokens=LENGTH, eos_token_id=ends)
    start = inputs["input_ids"].shape[1]
    assert answers(got.sequences, start, ends) == answers(want.sequences, start, ends)
