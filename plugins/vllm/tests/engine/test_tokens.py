"""Tokens out of vLLM against `ls.generate`, float32, greedy: identical under every setting and every way of running."""

from __future__ import annotations

import pytest

from conftest import all_requests, engine, greedy, written


def test_the_reference_can_fail(reference):
    """Settings that changed no token would prove nothing."""
    tokens = reference.scenes["tokens"]
    assert all(tokens[name] != tokens["plain"] for name in reference.settings if name != "plain")
    assert all(reference.grouped["tokens"][name] != reference.grouped["tokens"]["plain"] for name in ("paper", "logit"))


def test_mixed_settings_in_one_batch_and_again_from_the_prefix_cache(scenes, reference):
    prompts, params, want = all_requests(reference)
    first = scenes.generate(prompts, params, use_tqdm=False)
    assert first[0].prompt_token_ids == reference.scenes["prompt_ids"]
    assert written(first) == want
    again = scenes.generate(prompts[::-1], params[::-1], use_tqdm=False)
    assert written(again) == want[::-1]
    assert sum(output.num_cached_tokens for output in again) > 0


WAYS = {
    "no prefix cache": {"enable_prefix_caching": False},
    "chunked prefill": {"max_num_batched_tokens": 32, "enable_chunked_prefill": True, "max_num_seqs": 4},
    "preemption": {"num_gpu_blocks_override": 14, "enable_prefix_caching": False},
    "preemption with a prefix cache": {"num_gpu_blocks_override": 14},
}


@pytest.mark.parametrize("settings", WAYS.values(), ids=WAYS)
def test_ways_of_running(reference, settings):
    prompts, params, want = all_requests(reference)
    with engine(reference.model, **{"disable_log_stats": False, **settings}) as llm:
        assert written(llm.generate(prompts, params, use_tqdm=False)) == want
        if "num_gpu_blocks_override" in settings:
            counts = {metric.name: getattr(metric, "value", None) for metric in llm.get_metrics()}
            assert counts["vllm:num_preemptions"] > 0  # else nothing was shown


def test_compiled(reference):
    prompts, params, want = all_requests(reference)
    with engine(reference.model, enforce_eager=False) as llm:
        assert written(llm.generate(prompts, params, use_tqdm=False)) == want


@pytest.mark.parametrize("ranks", [1, 2])
def test_grouped_queries_and_tensor_parallel(reference, ranks, monkeypatch):
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1" if ranks > 1 else "0")
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # two ranks on the cores that there are
    known = reference.grouped
    prompts, params, want = [], [], []
    for name in reference.settings:
        extra = reference.extra(name)
        if "locore_layers" in extra:
            extra["locore_layers"] = [1, 3]
        prompts += [{"prompt_token_ids": ids} for ids in known["prompts"]]
        params += [greedy(extra, 40) for _ in known["prompts"]]
        want += known["tokens"][name]
    with engine(reference.llama, tensor_parallel_size=ranks, skip_tokenizer_init=True) as llm:
        got = written(llm.generate(prompts, params, use_tqdm=False))
    # The end token is not the model's own where no tokenizer tells of it.
    assert got == want


def test_beta_0_and_requests_that_ask_for_nothing_are_vllms_own(reference):
    """To the bit of their log-probabilities, beside requests that do ask."""
    prompts = [reference.prompt(number) for number in range(3)]
    with engine(reference.model, max_num_seqs=3, enable_prefix_caching=False) as llm:

        def odds(extras):
            params = [greedy(extra, 24, logprobs=0) for extra in extras]
            outputs = llm.generate(prompts, params, use_tqdm=False)
            return [[next(iter(one.values())).logprob for one in out.outputs[0].logprobs] for out in outputs]

        plain = odds([None, None, None])
        mixed = odds([{"locore_beta": 0, "locore_window": 4}, {"locore_beta": 3.0}, None])
    assert plain[0] == mixed[0]
    assert plain[2] == mixed[2]
    assert plain[1] != mixed[1]
