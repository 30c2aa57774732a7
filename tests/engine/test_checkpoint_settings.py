"""Settings that stand in a checkpoint's generation_config: a trace does not depend on them, `ls.generate` does as
`model.generate` does or says why it cannot, and nothing is ignored without a word."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from zoo import FAMILIES

SETTINGS = {
    "cache_implementation": ["static", "dynamic", "offloaded"],
    "num_return_sequences": [2],
    "num_beams": [3],
    "do_sample": [True],
    "stop_strings": [["cat"]],
    "token_healing": [True],
    "use_cache": [False],
    "min_new_tokens": [50],
    "min_length": [500],
    "max_length": [1],
    "max_time": [0.0],
    "penalty_alpha": [0.6],
    "dola_layers": ["low"],
    "guidance_scale": [3.0],
    "prompt_lookup_num_tokens": [3],
    "assistant_early_exit": [1],
    "forced_eos_token_id": [2],
    "forced_bos_token_id": [5],
    "suppress_tokens": [[7, 8]],
    "begin_suppress_tokens": [[9]],
    "repetition_penalty": [4.0],
    "no_repeat_ngram_size": [1],
    "watermarking_config": [{"bias": 9.0}],
    "prefill_chunk_size": [3],
    "output_hidden_states": [True],
    "output_attentions": [True],
    "return_dict_in_generate": [True],
    "temperature": [0.0],
    "early_stopping": [True],
    "length_penalty": [3.0],
    "renormalize_logits": [True],
    "remove_invalid_values": [True],
}


@pytest.fixture
def llava():
    family = FAMILIES["llava"]
    model, processor = family.build()
    before = model.generation_config
    inputs = family.inputs(n=1)
    sequences = model.generate(**inputs, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    model.generation_config = copy.deepcopy(before)
    yield model, processor, inputs, sequences
    model.generation_config = before


def put(model, asked):
    for name, value in asked.items():
        setattr(model.generation_config, name, value)


some = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in SETTINGS.items()})


@settings(max_examples=15, deadline=None)
@given(some)
def test_a_trace_depends_on_none_of_them(asked):
    family = FAMILIES["llava"]
    model, _ = family.build()
    before = model.generation_config
    inputs = family.inputs(n=1)
    sequences = model.generate(**inputs, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    want = ls.trace(model, inputs, sequences)
    model.generation_config = changed = copy.deepcopy(before)
    try:
        put(model, asked)
        told = changed.to_dict()
        got = ls.trace(model, inputs, sequences)
        assert torch.equal(got.rows, want.rows)
        assert torch.equal(got.logprobs, want.logprobs)
        assert model.generation_config is changed
        assert changed.to_dict() == told
    finally:
        model.generation_config = before


@pytest.mark.parametrize("name", SETTINGS)
def test_the_definition_and_a_second_reading_depend_on_none_of_them(llava, name):
    model, _, inputs, sequences = llava
    want = ls.trace(model, inputs, sequences[:, :-3], normalise="matrix", layers=[0]).rows
    vcd = {"methods": [ls.VCD(seed=0)], "max_new_tokens": 3, "do_sample": False}
    text = ls.generate(model, inputs, **vcd).sequences
    put(model, {name: SETTINGS[name][0]})
    assert torch.equal(ls.trace(model, inputs, sequences[:, :-3], normalise="matrix", layers=[0]).rows, want)
    if name in ("cache_implementation", "prefill_chunk_size", "use_cache"):
        assert torch.equal(ls.generate(model, inputs, **vcd).sequences, text)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_trace_inside_a_block_depends_on_none_of_them(llava, name):
    model, _, inputs, sequences = llava
    method = ls.LocoRE(beta=1.0, window=2)
    with method(model):
        want = ls.trace(model, inputs, sequences).rows
    put(model, {name: SETTINGS[name][0]})
    with method(model):
        assert torch.equal(ls.trace(model, inputs, sequences).rows, want)


# What changes the text, and goes through the loop here as through that of transformers.
SAME = {
    "static cache": {"cache_implementation": "static"},
    "no cache": {"use_cache": False},
    "several answers": {"num_return_sequences": 2, "do_sample": True},
    "beams": {"num_beams": 3},
    "several beams": {"num_beams": 3, "num_return_sequences": 2},
    "limits": {"min_new_tokens": 3, "max_new_tokens": 5},
    "forced end": {"forced_eos_token_id": 2},
    "suppressed": {"suppress_tokens": list(range(5, 300)), "begin_suppress_tokens": [310]},
    "watermark": {"watermarking_config": {"bias": 9.0}},
    "guidance": {"guidance_scale": 3.0},
    "prompt lookup": {"prompt_lookup_num_tokens": 2},
    "early exit": {"assistant_early_exit": 1},
    "chunks": {"prefill_chunk_size": 4},
}


def set_up(model, asked):
    asked = {**asked}
    if "watermarking_config" in asked:
        asked = vars(GenerationConfig(**asked))
        asked = {"watermarking_config": asked["watermarking_config"]}
    put(model, asked)


@pytest.mark.parametrize("asked", SAME.values(), ids=SAME.keys())
def test_generate_does_as_generate_does(asked):
    family = FAMILIES["llama"]
    model, _ = family.build()
    before = model.generation_config
    inputs = family.inputs(n=1)
    call = {} if "max_new_tokens" in asked else {"max_new_tokens": 6}
    model.generation_config = copy.deepcopy(before)
    try:
        set_up(model, asked)
        torch.manual_seed(3)
        want = model.generate(**inputs, **call)
        torch.manual_seed(3)
        got = ls.generate(model, inputs, **call)
        assert torch.equal(got.sequences, want)
        assert [len(steps) for steps in got.steps] == got_lengths(model, inputs, got)
    finally:
        model.generation_config = before


def got_lengths(model, inputs, out):
    length = inputs["input_ids"].shape[1]
    repeated = {k: v.repeat_interleave(len(out.sequences), 0) for k, v in inputs.items()}
    return ls.token_regions(model, repeated, out).output[:, length:].sum(1).tolist()


MOVED = {
    "contrastive search": ({"penalty_alpha": 0.6, "top_k": 4}, "contrastive search has moved out of transformers"),
    "dola": ({"dola_layers": "low"}, r"DoLa has moved out of transformers.*ls\.method\('dola'\)"),
    "constraints": ({"force_words_ids": [[5]]}, "constrained beam search has moved out of transformers"),
}


@pytest.mark.parametrize("where", ["call", "config", "checkpoint"])
@pytest.mark.parametrize(("asked", "message"), MOVED.values(), ids=MOVED.keys())
def test_a_mode_that_has_moved_out_is_refused_as_generate_refuses_it(llava, asked, message, where):
    model, _, inputs, _ = llava
    call = {"max_new_tokens": 3, "do_sample": False}
    if where == "call":
        call |= asked
    elif where == "config":
        call = {
            "generation_config": GenerationConfig(**call, **{k: v for k, v in asked.items() if k != "force_words_ids"})
        }
        for name, value in asked.items():
            setattr(call["generation_config"], name, value)
    else:
        put(model, asked)
    with pytest.raises(ValueError, match="requires `trust_remote_code=True`"):
        model.generate(**inputs, **call)
    for methods in ([], [ls.LocoRE()], [ls.SGRS(seed=0)], [ls.method("beam")]):
        with pytest.raises(SettingError, match=message):
            ls.generate(model, inputs, methods, **call)


@pytest.mark.parametrize("where", ["call", "config", "checkpoint"])
@pytest.mark.parametrize("method", [None, ls.LocoRE(beta=1.0), ls.SGRS(seed=2)])
def test_stop_strings_wherever_they_stand(llava, where, method):
    model, processor, inputs, _ = llava
    methods, call, length = (
        [method] if method else [],
        {"max_new_tokens": 8, "do_sample": False},
        inputs["input_ids"].shape[1],
    )
    free = ls.generate(model, inputs, methods, **call).sequences
    stop = [processor.tokenizer.decode([int(free[0, length + 2])])]
    if where == "call":
        call["stop_strings"] = stop
    elif where == "config":
        call = {"generation_config": GenerationConfig(**call, stop_strings=stop)}
    else:
        put(model, {"stop_strings": stop})
    with pytest.raises(SettingError, match=r"needs the tokenizer: pass tokenizer=processor\.tokenizer"):
        ls.generate(model, inputs, methods, **call)
    out = ls.generate(model, inputs, methods, tokenizer=processor.tokenizer, **call)
    assert length < out.sequences.shape[1] <= length + 3
    assert torch.equal(out.sequences, free[:, : out.sequences.shape[1]])
    if method is None:
        assert torch.equal(out.sequences, model.generate(**inputs, tokenizer=processor.tokenizer, **call))


@pytest.mark.parametrize(
    ("asked", "methods", "message"),
    [
        ({"token_healing": True}, [], "token_healing writes the end of the prompt anew"),
        ({"guidance_scale": 2.0}, [ls.LocoRE()], "guidance_scale reads a second prompt, which locore"),
        ({"guidance_scale": 2.0}, [ls.method("beam")], "guidance_scale reads a second prompt, which beam"),
        ({"num_beams": 2}, [ls.SGRS()], "sgrs decides each token and cannot run under beams.*pass num_beams=1"),
        ({"prompt_lookup_num_tokens": 2}, [ls.SGRS()], "sgrs decides each token and cannot run under .*assistant"),
    ],
)
def test_what_methods_cannot_serve_is_refused_wherever_it_stands(llava, asked, methods, message):
    model, _, inputs, _ = llava
    with pytest.raises(SettingError, match=message):
        ls.generate(model, inputs, methods, max_new_tokens=3, **asked)
    put(model, asked)
    with pytest.raises(SettingError, match=message):
        ls.generate(model, inputs, methods, max_new_tokens=3)


def test_what_the_call_alone_can_ask_for_is_refused_in_words(llava):
    model, _, inputs, _ = llava
    for asked, message in (
        ({"output_attentions": True}, "ls.trace gives the attention rows"),
        ({"custom_generate": print}, "call model.generate with it"),
        ({"cache_implementation": "paged"}, "continuous batching"),
        ({"num_beams": 1, "num_return_sequences": 2, "do_sample": False}, "generate refuses these settings"),
    ):
        with pytest.raises(SettingError, match=message):
            ls.generate(model, inputs, max_new_tokens=3, **asked)


def test_a_search_goes_its_way_over_a_checkpoint_that_says_no_cache(llava):
    model, _, inputs, _ = llava
    want = ls.generate(model, inputs, [ls.method("beam")], max_new_tokens=4).sequences
    for asked in ({"use_cache": False}, {"cache_implementation": "static"}, {"num_beams": 2}):
        put(model, asked)
        assert torch.equal(ls.generate(model, inputs, [ls.method("beam")], max_new_tokens=4).sequences, want)
        put(model, dict.fromkeys(asked))
