"""Settings of a request: what is read, and what is refused with which line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lvlm_saliency_vllm import admission, cache_salt
from lvlm_saliency_vllm.settings import Asked, Grounding, LocoRE, SettingError, asked, check_layers


@pytest.mark.parametrize(
    ("extra", "want"),
    [
        (None, Asked()),
        ({"kv_transfer_params": {}}, Asked()),
        ({"locore_beta": 0, "locore_window": 3}, Asked()),
        ({"locore_beta": 0.15}, Asked(LocoRE(0.15))),
        (
            {"locore_beta": 1, "locore_window": 4.0, "locore_layers": [2, 0], "locore_space": "logit"},
            Asked(LocoRE(1.0, 4, frozenset({0, 2}), "logit")),
        ),
        ({"grounding": "a", "grounding_layers": [1]}, Asked(None, Grounding("a", frozenset({1})))),
    ],
)
def test_what_is_read(extra, want):
    assert asked(extra) == want
    assert bool(asked(extra)) == (want != Asked())


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ({"locore_beta": -1}, "locore_beta must be a number from 0"),
        ({"locore_beta": float("nan")}, "locore_beta must be a number"),
        ({"locore_beta": True}, "locore_beta must be a number"),
        ({"locore_beta": "0.15"}, "locore_beta must be a number"),
        ({"locore_beta": 1, "locore_window": 0}, "locore_window must be a whole number from 1"),
        ({"locore_beta": 1, "locore_window": 2.5}, "locore_window must be a whole number"),
        ({"locore_beta": 1, "locore_window": 10**6}, "locore_window must be a whole number from 1 to 4096"),
        ({"locore_beta": 1, "locore_space": "logits"}, "locore_space must be one of"),
        ({"locore_beta": 1, "locore_layers": []}, "locore_layers must be a list"),
        ({"locore_beta": 1, "locore_layers": "1,2"}, "locore_layers must be a list"),
        ({"locore_beta": 1, "locore_layers": [-1]}, "layer numbers from 0"),
        ({"locore_window": 4}, "without locore_beta"),
        ({"locore_gain": 1}, "'locore_gain' is no setting"),
        ({"grounding": True}, "grounding must be a text"),
        ({"grounding": "x" * 1000}, "grounding must be a text"),
        ({"grounding_layers": [1]}, "without grounding"),
    ],
)
def test_what_is_refused(extra, line):
    with pytest.raises(SettingError, match=line):
        asked(extra)


def test_layers_that_the_model_lacks_are_named():
    with pytest.raises(SettingError, match=r"locore_layers names \[7\], and the model's .* \[0, 1, 2\]"):
        check_layers(asked({"locore_beta": 1, "locore_layers": [1, 7]}), range(3))
    check_layers(asked({"locore_beta": 1, "locore_layers": [1]}), range(3))


def engine(**changes):
    """A vLLM configuration that is served, with some of it changed."""
    parts = {
        "parallel_config": {"pipeline_parallel_size": 1, "decode_context_parallel_size": 1, "enable_dbo": False},
        "cache_config": {"cache_dtype": "auto", "enable_prefix_caching": True, "kv_sharing_fast_prefill": False},
        "model_config": {"enable_prompt_embeds": False, "use_mla": False, "is_encoder_decoder": False},
    }
    for key, value in changes.items():
        room, _, name = key.partition("__")
        if name:
            parts[room][name] = value
    config = {room: SimpleNamespace(**values) for room, values in parts.items()}
    whole = {"speculative_config": None, "kv_transfer_config": None}
    return SimpleNamespace(**config, **{**whole, **{k: v for k, v in changes.items() if "__" not in k}})


@pytest.fixture
def loaded(monkeypatch):
    """A process in which the plug-in was loaded."""
    known = {"registered": True, "salted": True, "problem": "", "layers": None}
    monkeypatch.setattr(admission, "state", known)
    return known


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"speculative_config": object()}, "speculative decoding"),
        ({"parallel_config__pipeline_parallel_size": 2}, "pipeline parallelism"),
        ({"parallel_config__decode_context_parallel_size": 2}, "decode_context_parallel_size is above 1"),
        ({"parallel_config__enable_dbo": True}, "dual-batch overlap"),
        ({"cache_config__cache_dtype": "fp8_e4m3"}, "quantised"),
        ({"cache_config__kv_sharing_fast_prefill": True}, "kv_sharing_fast_prefill"),
        ({"kv_transfer_config": object()}, "connector"),
        ({"model_config__enable_prompt_embeds": True}, "prompt embeddings"),
        ({"model_config__use_mla": True}, "multi-head latent attention"),
        ({"model_config__is_encoder_decoder": True}, "encoder-decoder"),
    ],
)
def test_engines_that_are_refused(loaded, changes, line):
    assert admission.problem(engine()) == ""
    assert line in admission.problem(engine(**changes))


def test_prefix_caching_without_a_salt_is_refused(loaded):
    loaded["salted"] = False
    assert "--no-enable-prefix-caching" in admission.problem(engine())
    assert admission.problem(engine(cache_config__enable_prefix_caching=False)) == ""


def test_a_plug_in_that_was_left_out_refuses_instead_of_doing_nothing(loaded):
    loaded["registered"] = False
    assert "VLLM_PLUGINS" in admission.problem(engine())
    with pytest.raises(SettingError, match="VLLM_PLUGINS"):
        admission.check(asked({"locore_beta": 1}), params())


def params(**changes):
    """Sampling parameters as vLLM's."""
    plain = {"n": 1, "allowed_token_ids": None, "bad_words": [], "logit_bias": None, "min_tokens": 0}
    return SimpleNamespace(**{**plain, "structured_outputs": None, **changes})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"n": 2}, "n=1"),
        ({"bad_words": ["cat"]}, "does not go with bad_words"),
        ({"logit_bias": {3: 1.0}}, "does not go with logit_bias"),
        ({"min_tokens": 4}, "does not go with min_tokens"),
        ({"structured_outputs": object()}, "does not go with structured_outputs"),
    ],
)
def test_sampling_that_would_falsify_the_entropy_is_refused(loaded, changes, line):
    admission.check(asked({"grounding": "a"}), params())
    admission.check(asked({"locore_beta": 1}), params(**changes))
    with pytest.raises(SettingError, match=line):
        admission.check(asked({"grounding": "a"}), params(**changes))


def test_what_the_engine_said_is_refused_at_the_door(loaded):
    loaded["layers"] = [0, 1]
    with pytest.raises(SettingError, match=r"names \[2\]"):
        admission.check(asked({"locore_beta": 1, "locore_layers": [2]}), params())
    loaded["problem"] = "no"
    with pytest.raises(SettingError, match="no"):
        admission.check(asked({"locore_beta": 1}), params())


def test_blocks_are_salted_by_settings_from_the_first_changed_row_on():
    def keys(extra, end, prompt=40):
        given = SimpleNamespace(extra_args=extra)
        return cache_salt.salt_keys(SimpleNamespace(sampling_params=given, num_prompt_tokens=prompt), end)

    locore = {"locore_beta": 0.5}
    assert keys(None, 64) == keys({"grounding": "a"}, 64) == keys({"locore_beta": 0}, 64) == []
    assert keys(locore, 32) == keys(locore, 41) == []  # rows up to position n0 are what they are without LocoRE
    assert keys(locore, 42) == keys({"locore_beta": 0.5, "locore_window": 10}, 64) != []
    others = [{**locore, "locore_window": 9}, {**locore, "locore_layers": [1]}, {**locore, "locore_space": "logit"}]
    found = {tuple(keys(one, 64)) for one in [locore, {"locore_beta": 0.25}, *others]}
    assert len(found) == 5
    assert keys(locore, 64, prompt=41) != keys(locore, 64)  # another prompt: other rows are changed
