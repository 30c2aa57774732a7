"""No block of keys that was written under one setting serves a request of another."""

from __future__ import annotations

import pytest

from conftest import engine, greedy
from lvlm_saliency_vllm import cache_salt


def odds(llm, prompt, extra, tokens=24):
    """Log-probabilities and tokens of a greedy text, and how many tokens came from the cache."""
    output = llm.generate([prompt], [greedy(extra, tokens, logprobs=1)], use_tqdm=False)[0]
    answer = output.outputs[0]
    chosen = [known[token].logprob for token, known in zip(answer.token_ids, answer.logprobs, strict=True)]
    return chosen, list(answer.token_ids), output.num_cached_tokens


def next_turn(reference, answer):
    """The next turn of the conversation: the answer has become prompt."""
    return {"prompt_token_ids": [*reference.grouped["prompts"][0], *answer, 5, 6, 7]}


STRONG = {"locore_beta": 6.0, "locore_window": 16}


@pytest.fixture(scope="module")
def llama(reference):
    with engine(reference.llama, skip_tokenizer_init=True, block_size=32) as llm:
        yield llm


def first_turn(llm, reference, extra):
    return odds(llm, {"prompt_token_ids": reference.grouped["prompts"][0]}, extra, 80)[1]


def test_the_next_turn_is_computed_and_not_served_from_blocks_under_locore(llama, reference):
    llama.reset_prefix_cache()
    answer = first_turn(llama, reference, STRONG)
    served = odds(llama, next_turn(reference, answer), None)
    llama.reset_prefix_cache()
    fresh = odds(llama, next_turn(reference, answer), None)
    assert served[:2] == fresh[:2]
    assert served[2] == 0


def test_without_a_salt_they_would_be(llama, reference, monkeypatch):
    """The control: what the salt is there for does happen without it."""
    monkeypatch.setattr(cache_salt, "salt_keys", lambda request, end: [])
    llama.reset_prefix_cache()
    answer = first_turn(llama, reference, STRONG)
    served = odds(llama, next_turn(reference, answer), None)
    llama.reset_prefix_cache()
    fresh = odds(llama, next_turn(reference, answer), None)
    assert served[2] > 0
    assert served[0] != fresh[0]


def test_blocks_of_the_prompt_are_shared_by_all_settings(llama, reference):
    """They are the same whatever the setting, so nothing is lost where much is saved: a picture is computed once."""
    llama.reset_prefix_cache()
    prompt = {"prompt_token_ids": (reference.grouped["prompts"][0] * 4)[:70]}
    assert odds(llama, prompt, None, 8)[2] == 0
    assert odds(llama, prompt, STRONG, 8)[2] == 64
    assert odds(llama, prompt, {"locore_beta": 1.0, "locore_layers": [2]}, 8)[2] == 64


def test_plain_texts_go_on_to_share_their_answers(llama, reference):
    llama.reset_prefix_cache()
    answer = first_turn(llama, reference, None)
    assert odds(llama, next_turn(reference, answer), None)[2] > len(reference.grouped["prompts"][0])
