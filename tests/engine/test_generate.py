"""`ls.generate` takes what `model.generate` takes, gives what it gives, and composes methods or says why not."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig, LogitsProcessor, TextStreamer
from transformers.generation import configuration_utils
from transformers.generation.streamers import BaseStreamer

import lvlm_saliency as ls
from lvlm_saliency.errors import NumericalError, SettingError
from zoo import FAMILIES

SAME_AS_PLAIN = {
    "greedy": {"do_sample": False},
    "sampled": {"do_sample": True, "temperature": 0.7, "top_p": 0.9},
    "top-k": {"do_sample": True, "top_k": 3},
    "repetition penalty": {"do_sample": False, "repetition_penalty": 1.7},
    "no repeated n-grams": {"do_sample": False, "no_repeat_ngram_size": 2},
    "bad words": {"do_sample": False, "bad_words_ids": [[17], [22]]},
    "several answers": {"do_sample": True, "num_return_sequences": 3},
    "beams": {"do_sample": False, "num_beams": 3},
    "no cache": {"do_sample": False, "use_cache": False},
    "static cache": {"do_sample": False, "cache_implementation": "static"},
}


@pytest.mark.parametrize("settings", SAME_AS_PLAIN.values(), ids=SAME_AS_PLAIN.keys())
@pytest.mark.parametrize("name", ["llava", "qwen2_vl"])
def test_without_methods_it_is_generate(name, settings):
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    torch.manual_seed(3)
    want = model.generate(**inputs, max_new_tokens=9, **settings)
    torch.manual_seed(3)
    got = ls.generate(model, inputs, max_new_tokens=9, **settings)
    assert torch.equal(got.sequences, want)
    assert len(got.steps) == len(want)


def test_locore_acts_inside_beam_search_and_a_static_cache():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    method = ls.LocoRE(beta=3.0)
    for mode in ({"num_beams": 3}, {"cache_implementation": "static"}):
        settings = {**mode, "max_new_tokens": 10, "do_sample": False}
        shaped = ls.generate(model, inputs, [method], **settings).sequences
        assert not torch.equal(shaped, model.generate(**inputs, **settings))
        with method(model):
            assert torch.equal(shaped, model.generate(**inputs, **settings))
    dynamic = ls.generate(model, inputs, [method], max_new_tokens=10, do_sample=False).sequences
    assert torch.equal(shaped, dynamic)


def test_sgrs_over_a_static_cache_decides_the_same():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    method = ls.SGRS(alpha=0.9, seed=5)
    dynamic = ls.generate(model, inputs, [method], max_new_tokens=10)
    static = ls.generate(model, inputs, [method], max_new_tokens=10, cache_implementation="static")
    assert torch.equal(dynamic.sequences, static.sequences)
    for a, b in zip(dynamic.steps[0], static.steps[0], strict=True):
        assert b.candidates == pytest.approx(a.candidates, abs=1e-5)


def test_a_generation_config_object_and_custom_processors():
    class Forbid(LogitsProcessor):
        def __call__(self, ids, scores):
            scores[:, 40:] = float("-inf")
            return scores

    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    config = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0)
    out = ls.generate(model, inputs, [ls.SGRS(seed=1)], generation_config=config, logits_processor=[Forbid()])
    answer = out.sequences[0, inputs["input_ids"].shape[1] :]
    assert answer.max() < 40
    assert len(answer) <= 6


@pytest.mark.parametrize("method", [None, ls.LocoRE(beta=1.0), ls.SGRS(seed=2)])
def test_stop_strings(method):
    family = FAMILIES["llama"]
    model, tokenizer = family.build()
    inputs = family.inputs(n=1)
    methods = [method] if method else []
    free = ls.generate(model, inputs, methods, max_new_tokens=12, do_sample=False)
    start = inputs["input_ids"].shape[1]
    stop = tokenizer.decode(free.sequences[0, start + 3])
    got = ls.generate(
        model, inputs, methods, max_new_tokens=12, do_sample=False, stop_strings=[stop], tokenizer=tokenizer
    )
    assert start < got.sequences.shape[1] <= start + 4
    assert torch.equal(got.sequences, free.sequences[:, : got.sequences.shape[1]])
    with pytest.raises(SettingError, match="needs the tokenizer"):
        ls.generate(model, inputs, methods, max_new_tokens=3, stop_strings=[stop])


@pytest.mark.parametrize("method", [None, ls.LocoRE(beta=1.0), ls.SGRS(seed=2)])
def test_streamer_gets_the_prompt_once_and_every_token(method):
    class Keep(BaseStreamer):
        def __init__(self):
            self.pieces, self.ended = [], 0

        def put(self, value):
            self.pieces.append(value.reshape(-1).tolist())

        def end(self):
            self.ended += 1

    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    keep = Keep()
    out = ls.generate(model, inputs, [method] if method else [], streamer=keep, max_new_tokens=7, do_sample=False)
    assert keep.pieces[0] == inputs["input_ids"][0].tolist()
    answer = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    assert [token for piece in keep.pieces[1:] for token in piece] == answer
    assert keep.ended == 1


def test_text_streamer_with_skipped_prompt(capsys):
    family = FAMILIES["llama"]
    model, tokenizer = family.build()
    inputs = family.inputs(n=1)
    out = ls.generate(
        model, inputs, [ls.SGRS(seed=2)], streamer=TextStreamer(tokenizer, skip_prompt=True), max_new_tokens=7
    )
    assert capsys.readouterr().out.strip() == tokenizer.decode(out.sequences[0, inputs["input_ids"].shape[1] :]).strip()


def test_scores_logits_hidden_states_and_costs():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    out = ls.generate(
        model,
        inputs,
        [ls.SGRS(seed=0)],
        max_new_tokens=5,
        min_new_tokens=5,
        output_scores=True,
        output_logits=True,
        output_hidden_states=True,
        repetition_penalty=1.5,
    )
    assert [len(x) for x in (out.scores, out.logits, out.hidden_states)] == [5, 5, 5]
    assert out.scores[2].shape == (2, model.config.get_text_config().vocab_size)
    assert not torch.equal(out.scores[2], out.logits[2])
    refused = sum(any(steps[t].rejected for steps in out.steps) for t in range(5))
    assert (out.cost.forwards, out.cost.backwards, out.cost.kept) == (5, 4 + refused, 10)
    assert out.cost.seconds > 0
    assert out.past_key_values.get_seq_length() == out.sequences.shape[1] - 1


def test_what_cannot_be_composed_is_refused():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    with pytest.raises(SettingError, match="sgrs is given twice"):
        ls.generate(model, inputs, [ls.SGRS(), ls.SGRS(alpha=0.9)])
    with pytest.raises(SettingError, match="cannot run under beams"):
        ls.generate(model, inputs, [ls.SGRS()], num_beams=2)
    with pytest.raises(SettingError, match="is not a method"):
        ls.generate(model, inputs, ["sgrs"])
    with pytest.raises(SettingError, match="2 sample_ids for 1 samples"):
        ls.generate(model, inputs, [ls.SGRS()], sample_ids=[0, 1], max_new_tokens=2)


def test_nan_logits_are_reported():
    model, _ = FAMILIES["llama"].fresh()
    with torch.no_grad():
        model.lm_head.weight[3] = float("nan")
    with pytest.raises(NumericalError, match="not finite"):
        ls.generate(model, FAMILIES["llama"].inputs(n=1), max_new_tokens=3)


def test_methods_by_name():
    assert {"locore", "sgrs"} <= set(ls.methods())
    assert ls.method("sgrs", alpha=0.9) == ls.SGRS(alpha=0.9)
    assert ls.method("locore", layers=[3, 1]).layers == (1, 3)
    with pytest.raises(SettingError, match="did you mean 'sgrs'"):
        ls.method("sgr")
    with pytest.raises(SettingError, match="did you mean 'alpha'"):
        ls.method("sgrs", alhpa=0.9)
    assert hash(ls.SGRS(layers=[1])) == hash(ls.SGRS(layers=(1,)))


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "gemma3"])
def test_a_static_cache_changes_no_token(name):
    family = FAMILIES[name]
    model, _ = family.build()
    settings = {"max_new_tokens": 10, "eos_token_id": 10**6, "do_sample": False}
    for methods in ([], [ls.LocoRE(beta=0.8, window=4)], [ls.LocoRE(beta=0.8, window=4), ls.SGRS(alpha=0.8, seed=1)]):
        free = ls.generate(model, family.inputs(n=2), methods, **settings)
        static = ls.generate(model, family.inputs(n=2), methods, cache_implementation="static", **settings)
        assert torch.equal(free.sequences, static.sequences)
        for mine, other in zip(static.steps, free.steps, strict=True):
            assert [s.score for s in mine] == pytest.approx([s.score for s in other], abs=1e-5)


def test_asking_for_logits_warns_of_nothing(monkeypatch):
    """transformers calls `output_logits` invalid where no dict is asked for; what is returned here is one always."""
    said = []
    for name in ("warning", "warning_once"):
        monkeypatch.setattr(configuration_utils.logger, name, lambda *words: said.append(words), raising=False)
    family = FAMILIES["llava"]
    out = ls.generate(family.build()[0], family.inputs(), max_new_tokens=2, output_logits=True, output_scores=True)
    assert len(out.logits) == len(out.scores) == 2
    assert not said
