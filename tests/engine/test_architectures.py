"""Decoders that nobody listed: their rows are those of the definition, or they are refused with the reason."""

from __future__ import annotations

import contextlib
import copy
import re
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import LvlmSaliencyError, UnsupportedModelError
from lvlm_saliency.hf import apart
from lvlm_saliency.hf.cache_graph import Fresh, keep_graph_out_of_cache, release_cache
from lvlm_saliency.tracing import one_pass
from zoo import decoders, examination
from zoo.examination import CLOSE, error_of, examine, prompt_of, state_of, text

pytestmark = pytest.mark.filterwarnings("ignore")

# One of each kind of what makes architectures different.
KINDS = {
    "gemma3n_text": "keys shared between layers, per-layer inputs",
    "gemma4_text": "keys shared between layers, queries of the last rows alone",
    "deepseek_v3": "latents",
    "longcat_flash": "latents, two attentions a layer with numbers of their own",
    "deepseek_v32": "latents, an indexer that chooses keys",
    "jetmoe": "experts of attention, keys repeated for them",
    "falcon_h1": "a state space beside the attention of every layer",
    "zamba2": "shared blocks without a layer number, then a state space",
    "jamba": "states that are written in place",
    "zamba": "states that are written in place, head by head",
    "zaya": "a convolution inside the attention",
    "lfm2": "short convolutions",
    "recurrent_gemma": "states kept in modules",
    "kimi_linear": "latents and linear attention",
    "stablelm": "layers that keep the keywords of the call to themselves",
    "modernbert-decoder": "another part is called the decoder",
    "gpt2": "another name for the list of layers",
    "llama4_text": "a model nested in a model",
}
REFUSED = {
    "diffllama": "attends more than once",
    "hrm_text": "run more than once",
    "deepseek_v4": "columns are not known",
    "minimax": "cache of its own kind",
    "inkling_text": "position_bias",
    "bloom": "none of its layers calls the attention interface",
    "mamba": "none of its layers calls the attention interface",
}


@pytest.mark.parametrize("name", KINDS)
def test_rows_are_those_of_the_definition(name):
    found = examine(name, generation=False)
    assert found.refused is None, found.refused
    assert found.error < CLOSE
    assert not found.faults


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_reason(name):
    found = examine(name)
    assert found.refused is not None
    assert REFUSED[name] in found.refused
    assert not found.faults


@pytest.mark.parametrize("name", ["gemma4_text", "deepseek_v32", "falcon_h1", "zamba"])
def test_generation_keeps_its_promises_there_too(name):
    """Neutral settings bit-identical, cached as recomputed, SGRS by the rows of a trace, nothing left."""
    assert examination.faults_of(decoders.build(name)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", decoders.NAMES)
def test_every_decoder_is_exact_or_refused(name):
    found = examine(name)
    assert found.right, found


def test_every_decoder_of_transformers_is_in_the_table_or_left_out_by_name():
    assert set(decoders.NAMES) | decoders.NOT_DECODERS >= set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert set(KINDS) | set(REFUSED) <= set(decoders.NAMES)


def test_the_page_has_a_line_for_each():
    page = (Path(__file__).parents[2] / "docs" / "architectures.md").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^\| ([\w.-]+) \| (exact|refused) \|", page, re.MULTILINE))
    assert sorted(lines) == decoders.NAMES
    assert {name for name in REFUSED if lines[name] != "refused"} == set()
    assert {name for name in KINDS if lines[name] != "exact"} == set()


@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    groups=st.sampled_from([1, 2, 4]),
    window=st.integers(3, 20),
    cap=st.sampled_from([None, 5.0, 30.0]),
    shared=st.integers(0, 2),
    pattern=st.lists(st.sampled_from(["sliding_attention", "full_attention"]), min_size=2, max_size=2),
    prompt=st.integers(2, 12),
)
def test_random_configurations_are_exact(groups, window, cap, shared, pattern, prompt):
    """Knobs that change which keys a layer sees and whose they are; short windows drop keys while the text grows."""
    kinds = [*_BOTH, *pattern]
    knobs = {"num_key_value_heads": groups, "sliding_window": window, "num_hidden_layers": 4, "layer_types": kinds}
    model = decoders.build("gemma4_text", **knobs, num_kv_shared_layers=shared)
    assert error_of(model, text(), prompt) < CLOSE
    model = decoders.build("gemma2", **knobs, attn_logit_softcapping=cap, final_logit_softcapping=cap)
    assert error_of(model, text(), prompt) < CLOSE


_BOTH = ["sliding_attention", "full_attention"]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(decoders.NAMES),
    layers=st.integers(2, 5),
    groups=st.sampled_from([1, 2, 4]),
    window=st.integers(4, 30),
    prompt=st.integers(2, 12),
    seed=st.integers(0, 3),
)
def test_random_architectures_are_exact_or_refused(name, layers, groups, window, prompt, seed):
    own = decoders.MORE.get(name, {})
    knobs = {"num_hidden_layers": layers, "num_key_value_heads": groups, "sliding_window": window}
    fields = decoders.configuration(name).to_dict()
    free = {k: v for k, v in knobs.items() if k in fields and k not in own and "layer_types" not in own}
    try:
        model = decoders.build(name, seed, **free)
    except (ValueError, KeyError, RuntimeError, IndexError, TypeError, LvlmSaliencyError):
        return  # not a configuration that transformers accepts
    with contextlib.suppress(UnsupportedModelError):
        assert error_of(model, text(seed), prompt) < CLOSE


def test_a_batch_of_unequal_prompts_has_the_rows_of_each_alone():
    """Hidden padding on the left: of shared keys, latents and hybrids as well."""
    for name in ("gemma4_text", "deepseek_v3", "bamba", "qwen3_5_text"):
        model, ids = decoders.build(name), text(batch=2)
        lengths = (9, 6)
        padded = torch.zeros_like(ids)
        mask = torch.zeros(2, 9, dtype=torch.long)
        for sample, length in enumerate(lengths):
            padded[sample, 9 - length : 9] = ids[sample, :length]
            padded[sample, 9:] = ids[sample, length : length + 6]
            mask[sample, 9 - length :] = 1
        both = ls.trace(model, {"input_ids": padded[:, :9], "attention_mask": mask}, padded)
        for sample, length in enumerate(lengths):
            alone = ids[sample : sample + 1, : length + 6]
            single = ls.trace(model, prompt_of(alone, length), alone)
            mine = both.rows[sample, ..., 9 - length :]
            assert float((mine - single.rows[0]).abs().max()) < CLOSE, name


def test_sparse_attention_stays_sparse_under_a_session():
    """Models that ask for their backend by name build the mask of the chosen keys for eager and sdpa alone."""
    model, ids = decoders.build("deepseek_v32"), text()
    want = model(input_ids=ids).logits
    with ls.LocoRE(beta=0)(model):
        assert torch.equal(model(input_ids=ids).logits, want)


HYBRIDS = [
    *("qwen3_5_text", "lfm2", "falcon_h1"),
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            *("qwen3_5_moe_text", "qwen3_next", "qwen4_exp_text", "lfm2_moe", "lfm3", "bamba", "granitemoehybrid"),
            *("jamba", "kimi_linear", "nemotron_h", "olmo_hybrid", "zamba", "zamba2", "bailing_hybrid"),
        )
    ),
]


@pytest.mark.parametrize("name", HYBRIDS)
def test_hybrids_run_rows_side_by_side(name, monkeypatch):
    """In one pass, and in blocks that begin where the states of the last one ended."""
    model, ids = decoders.build(name), text()
    assert hf.runs_apart(model)
    before = state_of(model)
    assert error_of(model, ids) < CLOSE
    monkeypatch.setattr(one_pass, "MAX_ROWS", 4)
    assert error_of(model, ids) < CLOSE
    assert state_of(model) == before
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("name", ["qwen3_5_text", "lfm3"])
def test_closed_forms_are_what_the_parts_do_themselves(name, monkeypatch):
    model, ids = decoders.build(name), text(length=24)
    closed = ls.trace(model, prompt_of(ids), ids)
    monkeypatch.setattr(apart, "CLOSED", {})
    walked = ls.trace(model, prompt_of(ids), ids)
    torch.testing.assert_close(closed.rows, walked.rows, atol=CLOSE, rtol=0)
    torch.testing.assert_close(closed.logprobs, walked.logprobs, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(one_pass, "STATE_BYTES", 3 * hf.state_bytes(model, hf.cache_of(model(input_ids=ids[:, :9]))))
    cache = hf.cache_of(model(input_ids=ids[:, :9]))
    assert [b - a for a, b in one_pass._row_blocks(model, 1, 7, cache)] == [3, 3, 1], (
        "the states of a block are bounded"
    )


@torch.no_grad()
def test_rows_side_by_side_are_this_threads_own():
    """Another thread, and a copy of the model, run it as ever while one traces it."""
    model, ids = decoders.build("qwen3_5_text"), text()
    cache = hf.cache_of(model(input_ids=ids[:, :9]))
    want = model(input_ids=ids[:, 9:], **{hf.CACHE: copy.deepcopy(cache)}).logits
    found = {}

    @torch.no_grad()
    def elsewhere():
        found["thread"] = model(input_ids=ids[:, 9:], **{hf.CACHE: copy.deepcopy(cache)}).logits

    with hf.rows_apart(model):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        copied = copy.deepcopy(model)
        found["copy"] = copied(input_ids=ids[:, 9:], **{hf.CACHE: copy.deepcopy(cache)}).logits
        here = model(input_ids=ids[:, 9:], **{hf.CACHE: copy.deepcopy(cache)}).logits
    assert torch.equal(found["thread"], want)
    assert torch.equal(found["copy"], want)
    torch.testing.assert_close(here, want, atol=1e-3, rtol=1e-3)
    assert not any("forward" in vars(module) for module in model.modules())


def test_states_kept_in_modules_allow_one_text_at_a_time():
    model, ids = decoders.build("recurrent_gemma"), text()
    for method in (ls.method("beam", n_beams=2), ls.method("causalmm")):
        with pytest.raises(UnsupportedModelError, match="one text at a time"):
            ls.generate(model, prompt_of(ids), [method], max_new_tokens=2)
    assert error_of(model, ids, prompt=2) < CLOSE, "a prompt's pass of one token begins anew"


def test_our_name_answers_as_the_backend_does():
    name = hf.NAMES["sdpa"]
    assert name == "sdpa"
    assert name == "sdpa"
    assert name in ("eager", "sdpa")
    assert name != "eager"
    assert {name: 1}.get("sdpa") is None, "transformers' tables must find our entry, not the backend's"
    assert type(copy.deepcopy(name)) is str
    assert copy.deepcopy(name) == "sdpa"
    assert "flash" in hf.NAMES["flash_attention_2"]
    assert "flash" not in name


def test_a_state_that_a_kernel_writes_past_the_graph_is_an_error():
    """Fused kernels write in place and have no gradient: without a word the rows above would be wrong."""
    model, ids = decoders.build("bamba"), text()
    cache = hf.cache_of(model(input_ids=ids))
    keep_graph_out_of_cache(cache, Fresh(), ids.shape[1])
    with torch.enable_grad():
        cache.get_recurrent_state(0, state_idx=0)
    with pytest.raises(UnsupportedModelError, match="without a gradient"):
        release_cache(cache)
    assert "update" not in vars(cache)


@pytest.mark.parametrize(
    ("name", "hybrid"),
    [("falcon_h1", True), ("zaya", True), ("qwen3_next", True), ("llama", False), ("gemma4_text", False)],
)
def test_hybrids_are_told_by_what_they_keep(name, hybrid):
    assert hf.is_hybrid(decoders.build(name)) is hybrid
