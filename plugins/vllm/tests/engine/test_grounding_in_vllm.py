"""Readings out of vLLM against `ls.trace` of the same texts, under the same settings."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import engine, greedy
from lvlm_saliency_vllm import generate
from lvlm_saliency_vllm.settings import SettingError

REGIONS = ("system", "image", "prompt", "output", "previous")


def agrees(grounding, reference, name, number):
    """The reading against the trace: attention per position, concentration, log-probability, entropy."""
    traces = {key: reference.traces[f"{name} {number} {key}"] for key in ("attention", "image", "logprobs", "entropy")}
    got = [grounding.attention_scores(region, [layer]) for layer in grounding.layers for region in REGIONS]
    np.testing.assert_allclose(np.stack(got, 1), traces["attention"], atol=1e-4)
    np.testing.assert_allclose(grounding.logprobs, traces["logprobs"], atol=1e-3)
    np.testing.assert_allclose(grounding.entropy, traces["entropy"], atol=1e-3)
    share = traces["image"] / traces["image"].sum(-1, keepdims=True)  # [L, T, I]
    entropy = -(share * np.log(np.maximum(share, 1e-30))).sum(-1) / np.log(share.shape[-1])
    want = np.stack([entropy, share.max(-1)], -1).transpose(1, 0, 2).reshape(share.shape[1], -1)
    np.testing.assert_allclose(grounding.features(["attention concentration"]), want, atol=2e-3)


@pytest.mark.parametrize("name", ["plain", "strong", "layers", "unnormalised", "logit"])
def test_readings_are_those_of_a_trace(scenes, reference, name):
    prompts = [reference.prompt(number) for number in range(2)]
    texts = generate(scenes, prompts, greedy(reference.extra(name)), use_tqdm=False)
    for number, text in enumerate(texts):
        assert list(text.grounding.token_ids) == reference.scenes["tokens"][name][number]
        agrees(text.grounding, reference, name, number)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_num_batched_tokens": 32, "enable_chunked_prefill": True, "max_num_seqs": 4},
        {"num_gpu_blocks_override": 14},
    ],
    ids=["chunked prefill", "preemption"],
)
def test_readings_of_a_full_engine(reference, settings):
    """Ten texts at once, of all settings: chunks and preemption leave every text its own readings."""
    names = ["plain", "strong", "layers", "unnormalised", "logit"]
    prompts = [reference.prompt(number) for number in range(2) for _ in names]
    params = [greedy(reference.extra(name)) for _ in range(2) for name in names]
    with engine(reference.model, **settings) as llm:
        texts = generate(llm, prompts, params, use_tqdm=False)
    for place, text in enumerate(texts):
        agrees(text.grounding, reference, names[place % 5], place // 5)


def test_reading_changes_no_token_and_no_probability(scenes, reference):
    prompts = [reference.prompt(0)]
    params = greedy(reference.extra("strong"), logprobs=0)
    read = generate(scenes, prompts, params, use_tqdm=False)[0].output.outputs[0]
    plain = scenes.generate(prompts, params, use_tqdm=False)[0].outputs[0]
    assert list(read.token_ids) == list(plain.token_ids)
    assert [one[t].logprob for t, one in zip(read.token_ids, read.logprobs, strict=True)] == [
        one[t].logprob for t, one in zip(plain.token_ids, plain.logprobs, strict=True)
    ]
    assert "extra_args" not in str(params.extra_args)
    assert "grounding" not in params.extra_args  # the caller's own parameters stay as they were


def test_some_layers(scenes, reference):
    texts = generate(scenes, reference.prompt(0), greedy(tokens=8), layers=[4, 1], use_tqdm=False)
    assert texts[0].grounding.layers == (1, 4)
    whole = generate(scenes, reference.prompt(0), greedy(tokens=8), use_tqdm=False)[0].grounding
    np.testing.assert_array_equal(texts[0].grounding.rows, whole.rows[:, [1, 4]])
    with pytest.raises(SettingError, match=r"layers \[9\] are to be read"):
        generate(scenes, reference.prompt(0), layers=[9])


def test_nothing_stays_in_the_worker(scenes, reference):
    from lvlm_saliency_vllm import requests

    generate(scenes, [reference.prompt(0)] * 3, greedy(reference.extra("paper"), 6), use_tqdm=False)
    scenes.generate([reference.prompt(0)], greedy(None, 3), use_tqdm=False)
    table = requests.table_of(scenes.llm_engine.vllm_config)
    assert (table.requests, table.waiting, dict(table.store.texts), table.in_step) == ({}, {}, {}, False)


def test_tensor_parallel_ranks_read_what_one_reads(reference, monkeypatch):
    """Two ranks of two heads each, several texts at once, with LocoRE and without."""
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # two ranks on the cores that there are
    prompts = [{"prompt_token_ids": ids} for ids in reference.grouped["prompts"]]
    params = [
        greedy(extra, 12) for extra in (None, {"locore_beta": 1.5}, {"locore_beta": 0.4, "locore_space": "logit"})
    ]
    found = []
    for ranks in (1, 2):
        monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1" if ranks > 1 else "0")
        with engine(reference.llama, tensor_parallel_size=ranks, skip_tokenizer_init=True) as llm:
            found.append(generate(llm, prompts, params, use_tqdm=False))
    for one, two in zip(*found, strict=True):
        assert one.grounding.token_ids == two.grounding.token_ids
        np.testing.assert_allclose(one.grounding.rows, two.grounding.rows, atol=1e-5)
        np.testing.assert_allclose(one.grounding.entropy, two.grounding.entropy, atol=1e-4)
        np.testing.assert_allclose(one.grounding.logprobs, two.grounding.logprobs, atol=1e-4)
