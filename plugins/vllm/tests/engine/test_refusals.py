"""What vLLM would serve wrongly is refused, with the reason, before a token is written."""

from __future__ import annotations

import pytest

from conftest import engine, greedy
from lvlm_saliency_vllm import admission, generate
from lvlm_saliency_vllm.settings import SettingError


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ({"locore_beta": -1}, "locore_beta must be a number"),
        ({"locore_window": 3}, "without locore_beta"),
        ({"grounding": True}, "grounding must be a text"),
    ],
)
def test_settings(scenes, reference, extra, line):
    with pytest.raises(ValueError, match=line):
        scenes.generate([reference.prompt(0)], greedy(extra, 4), use_tqdm=False)
    assert scenes.generate([reference.prompt(0)], greedy(None, 2), use_tqdm=False)  # and the engine goes on


def test_a_plug_in_that_vllm_was_told_to_leave_out(scenes, reference, monkeypatch):
    monkeypatch.setitem(admission.state, "registered", False)
    with pytest.raises(ValueError, match="VLLM_PLUGINS"):
        scenes.generate([reference.prompt(0)], greedy({"locore_beta": 1}, 4), use_tqdm=False)
    with pytest.raises(SettingError, match="VLLM_PLUGINS"):
        generate(scenes, reference.prompt(0), greedy(None, 4))


def test_speculative_decoding_does_not_start(reference):
    spec = {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 3}
    with pytest.raises(ValueError, match="speculative decoding"), engine(reference.model, speculative_config=spec):
        pass


def test_layers_that_the_model_lacks(reference):
    """In a raw request they reach the worker, which stops rather than serve it as if nothing had been asked."""
    with engine(reference.model) as llm:
        with pytest.raises(SettingError, match=r"layers \[6\] are to be read"):
            generate(llm, reference.prompt(0), greedy(None, 4), layers=[6])
        with pytest.raises(SettingError, match=r"locore_layers names \[6\]"):
            llm.generate([reference.prompt(0)], greedy({"locore_beta": 1, "locore_layers": [6]}, 4), use_tqdm=False)


def test_a_hashing_of_blocks_that_is_not_known(monkeypatch):
    """Another vLLM may hash blocks otherwise: nothing is wrapped then, and prefix caching is refused."""
    from vllm.v1.core import kv_cache_utils

    from lvlm_saliency_vllm import cache_salt

    monkeypatch.setattr(kv_cache_utils, cache_salt._HOOK, lambda request, block: [])
    monkeypatch.setitem(admission.state, "salted", False)
    cache_salt.install()
    assert admission.state["salted"] is False
