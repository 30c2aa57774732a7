"""What vLLM would serve wrongly is refused, with the reason, before a token is written."""

from __future__ import annotations

import subprocess
import sys

import pytest
from vllm.exceptions import VLLMValidationError

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
    with pytest.raises(VLLMValidationError, match=line):
        scenes.generate([reference.prompt(0)], greedy(extra, 4), use_tqdm=False)
    # And the engine goes on. (Not with the same picture: vLLM takes one that came with a refused request for known.)
    text = {"prompt": "USER: Describe the image. ASSISTANT:"}
    assert scenes.generate([text], greedy(None, 2), use_tqdm=False)


def test_a_plug_in_that_vllm_was_told_to_leave_out(scenes, reference, monkeypatch):
    monkeypatch.setitem(admission.state, "registered", False)
    with pytest.raises(VLLMValidationError, match="VLLM_PLUGINS"):
        scenes.generate([reference.prompt(0)], greedy({"locore_beta": 1}, 4), use_tqdm=False)
    with pytest.raises(SettingError, match="VLLM_PLUGINS"):
        generate(scenes, reference.prompt(0), greedy(None, 4))


def test_speculative_decoding_does_not_start(reference):
    """In a process of its own: what vLLM imports for it (numba) trips its next engine in the same process."""
    script = (
        "import sys; from vllm import LLM; LLM(sys.argv[1], dtype='float32', enforce_eager=True, max_model_len=256, "
        "gpu_memory_utilization=0.1, block_size=32, "
        "speculative_config={'method': 'ngram', 'num_speculative_tokens': 2, 'prompt_lookup_max': 3})"
    )
    done = subprocess.run([sys.executable, "-c", script, reference.model], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "lvlm-saliency-vllm: this engine runs no logits processors of plug-ins" in done.stderr


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
