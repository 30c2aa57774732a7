"""The switch: on for one model and one call, off again, whatever happens around it."""

from __future__ import annotations

import threading

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TextIteratorStreamer

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.attention.session import session
from lvlm_saliency.errors import UnsupportedModelError
from zoo import FAMILIES, REFUSED


def answer(model, inputs, tokens=6):
    return model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)


def backend_of(model):
    return model.get_decoder().config._attn_implementation


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["llava", "gemma3", "qwen2_vl", "mistral"])
def test_either_backend_is_kept_and_traced(name, backend):
    family = FAMILIES[name]
    model, _ = family.fresh()
    model.set_attn_implementation(backend)
    inputs = family.inputs(n=2)
    before = backend_of(model)
    sequences = answer(model, inputs)
    rows = ls.trace(model, inputs, sequences).rows
    assert backend_of(model) == before == backend
    shared = family.build()[0]
    torch.testing.assert_close(rows, ls.trace(shared, inputs, sequences).rows, atol=1e-4, rtol=0)
    assert torch.equal(
        ls.generate(model, inputs, max_new_tokens=6, do_sample=False, min_new_tokens=6).sequences, sequences
    )


def test_only_the_language_model_is_switched():
    model, _ = FAMILIES["llava"].build()
    with session(model):
        assert backend_of(model) == hf.NAMES["sdpa"]
        assert model.config.vision_config._attn_implementation == "sdpa"
    assert backend_of(model) == "sdpa"


def test_threads_trace_two_models_and_one_model_at_once():
    jobs = []
    for name in ("llava", "qwen2_vl", "llava", "gemma3"):
        family = FAMILIES[name]
        model, _ = family.build()
        inputs = family.inputs(n=1, seed=len(jobs))
        sequences = answer(model, inputs)
        jobs.append((model, inputs, sequences, ls.trace(model, inputs, sequences).rows))
    failures = []

    def work(model, inputs, sequences, want):
        try:
            for _ in range(5):
                assert torch.equal(answer(model, inputs), sequences)
                torch.testing.assert_close(ls.trace(model, inputs, sequences).rows, want, atol=1e-5, rtol=0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not hf._switches


def test_a_trace_does_not_touch_another_threads_generation():
    """A plain generation that runs while another thread has LocoRE in `generate` is a plain generation."""
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    plain = answer(model, inputs, 12)
    shaped = ls.generate(model, inputs, [ls.LocoRE(beta=3.0)], max_new_tokens=12, min_new_tokens=12, do_sample=False)
    assert not torch.equal(plain, shaped.sequences)
    results = []
    thread = threading.Thread(target=lambda: results.extend(answer(model, inputs, 12) for _ in range(6)))
    thread.start()
    while thread.is_alive():
        again = ls.generate(model, inputs, [ls.LocoRE(beta=3.0)], max_new_tokens=12, min_new_tokens=12, do_sample=False)
        assert torch.equal(again.sequences, shaped.sequences)
    thread.join()
    assert len(results) == 6
    assert all(torch.equal(result, plain) for result in results)


def test_a_block_acts_on_generations_started_in_threads():
    """Streaming runs `generate` in a thread; a method whose block is open must act there too."""
    family = FAMILIES["llama"]
    model, tokenizer = family.build()
    inputs = family.inputs(n=1)
    method = ls.LocoRE(beta=3.0)
    want = ls.generate(model, inputs, [method], max_new_tokens=10, do_sample=False).sequences
    assert not torch.equal(want, answer(model, inputs, 10))
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    with method(model):
        thread = threading.Thread(
            target=model.generate, kwargs=dict(**inputs, streamer=streamer, max_new_tokens=10, do_sample=False)
        )
        thread.start()
        text = "".join(streamer)
        thread.join()
    assert text == tokenizer.decode(want[0, inputs["input_ids"].shape[1] :])


def test_blocks_nest():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
    outer, inner = ls.LocoRE(beta=1.0, window=2), ls.LocoRE(beta=1.0, window=2, space="unnormalised")
    with outer(model):
        only = model.generate(**inputs, **settings)
        with inner(model):
            both = ls.generate(model, inputs, **settings, output_logits=True)
        again = model.generate(**inputs, **settings)
    assert torch.equal(only, again)
    one = ls.generate(model, inputs, [outer], **settings, output_logits=True)
    assert not torch.equal(both.logits[3], one.logits[3])


@pytest.mark.parametrize("neutral_first", [True, False])
def test_a_method_that_leaves_rows_alone_does_not_undo_another(neutral_first):
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    settings = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "output_logits": True}
    acting, neutral = ls.LocoRE(beta=2.0), ls.method("tame", gain=0.0)
    want = ls.generate(model, inputs, [acting], **settings).logits
    methods = [neutral, acting] if neutral_first else [acting, neutral]
    assert torch.equal(torch.stack(ls.generate(model, inputs, methods, **settings).logits), torch.stack(want))
    assert not torch.equal(torch.stack(ls.generate(model, inputs, [neutral], **settings).logits), torch.stack(want))


def test_under_inference_mode():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    sequences = answer(model, inputs)
    want = ls.trace(model, inputs, sequences).rows
    with torch.inference_mode():
        got = ls.trace(model, inputs, answer(model, inputs)).rows
        ls.generate(model, inputs, [ls.SGRS(seed=0)], max_new_tokens=5)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


def test_the_callers_gradient_mode_is_restored():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    sequences = answer(model, inputs)
    for mode in (True, False):
        with torch.set_grad_enabled(mode):
            ls.trace(model, inputs, sequences)
            ls.generate(model, inputs, [ls.SGRS(seed=0)], max_new_tokens=4)
            assert torch.is_grad_enabled() is mode


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mllama", "cross-attention layers"),
        ("mamba", "none of its layers calls the attention interface"),
        ("t5", "encoder-decoder"),
    ],
)
def test_what_cannot_be_captured_is_refused_with_the_reason(name, reason):
    model, _ = REFUSED[name].build()
    ids = torch.tensor([[5, 6, 7]])
    for call in (
        lambda: ls.trace(model, {"input_ids": ids}, torch.tensor([[5, 6, 7, 8]])),
        lambda: ls.generate(model, {"input_ids": ids}, [ls.SGRS()], max_new_tokens=2),
        lambda: ls.LocoRE()(model).__enter__(),
    ):
        with pytest.raises(UnsupportedModelError, match=reason):
            call()


def test_code_from_elsewhere_is_refused():
    class MyAttention(torch.nn.Module):
        layer_idx = 0

        def forward(self, x, **kwargs):
            return x, None

    model = LlamaForCausalLM(
        LlamaConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=16, vocab_size=20)
    ).eval()
    model.model.layers[0].self_attn = MyAttention()
    type(model.model).__module__, before = "their_code.modeling", type(model.model).__module__
    try:
        with pytest.raises(UnsupportedModelError, match="not part of transformers"):
            ls.LocoRE()(model).__enter__()
    finally:
        type(model.model).__module__ = before
    with pytest.raises(UnsupportedModelError, match="not a transformers model"):
        ls.LocoRE()(torch.nn.Linear(2, 2)).__enter__()


def test_an_unknown_backend_is_refused():
    model, _ = FAMILIES["llama"].fresh()
    model.get_decoder().config._attn_implementation_internal = "flex_attention"
    with pytest.raises(UnsupportedModelError, match="attn_implementation='sdpa'"):
        ls.LocoRE()(model).__enter__()
