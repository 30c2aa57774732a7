"""The contract that every method keeps on every family; a new method is a new row of METHODS (methods.py)."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import InputError, SettingError, UnsupportedModelError
from zoo import FAMILIES, MORE

from .methods import METHODS
from .reference import alone

SETTINGS = {"max_new_tokens": 8, "min_new_tokens": 5}


def test_every_method_has_a_row():
    """Sampling has its own tests: it is compared with `generate(do_sample=True)`."""
    assert {row.active.name for row in METHODS} == set(ls.methods()) - {"sample"}
    for row in METHODS:
        assert type(row.active) is type(row.neutral) is type(ls.method(row.active.name))


def refusal(family, row):
    """Words of the line in which this family refuses the method, from what its model is made of; None if it runs."""
    model, _ = family.build()
    if row.name == "memvr" and not all(hasattr(layer, "up_proj") for layer in feed_forwards(model, row.active)):
        return "no plain feed-forward block"
    if row.name in ("dola", "memvr") and family.name in SEVERAL_STREAMS:
        return "several streams per token"
    if row.name == "tame" and shares_keys(model):
        return "comes in pieces"
    if row.name == "vcd" and family.name in SEEN_ELSEWHERE:
        return "this model (also )?sees"
    return None


SEEN_ELSEWHERE = ("phi4_multimodal", "step3p7")
"""Families that see their pictures, or a part of them, under another name than `pixel_values`: noise would miss it."""
ONE_BY_ONE = ("minicpmv4_6", "minicpmv4_7")
"""Families that pack the slices of a batch into one row, so that noise takes one sample at a time, and says so."""
SEVERAL_STREAMS = ("gemma3n", "glm5_next")
"""Families whose layers hand on more than one hidden state per token."""
ROUGH = ("gemma4", "gemma4_unified")
"""Whose small models are so sensitive that float32 alone moves their logits by 1e-2; float64 moves them by 1e-6."""


AT_THE_CUT = ("ernie4_5_vl_moe", "pai")
"""Here one token lies at the plausibility cut itself: 4.605168 below the best with a cache, 4.605171 without; the cut
is at 4.605170."""


def feed_forwards(model, method):
    """The feed-forward blocks of the layers that the method may act in."""
    return [getattr(hf.decoder_layers(model)[number], "mlp", None) for number in method.layers(model)]


def shares_keys(model):
    """Gemma 4 runs layers that share keys on the prompt's last rows alone (Gemma 3n runs them on all)."""
    config = hf.text_config(model)
    return config.model_type.startswith("gemma4") and bool(config.num_kv_shared_layers)


@pytest.fixture(params=METHODS, ids=lambda row: row.name)
def row(request, family):
    if request.param.pictures and family.text_only:
        pytest.skip("acts on pictures")
    if words := refusal(family, request.param):
        pytest.skip(f"refused ({words}); see test_what_a_family_refuses_is_said_in_one_line")
    return request.param


def test_what_a_family_refuses_is_said_in_one_line(family):
    refused = {row.name: (row, words) for row in METHODS if (words := refusal(family, row)) is not None}
    if not refused:
        pytest.skip("it refuses none")
    model, _ = family.build()
    before = state_of(model)
    for row, words in refused.values():
        with pytest.raises((SettingError, UnsupportedModelError), match=words) as told:
            with_method(model, family.inputs(n=1), row.active)
        assert "\n" not in str(told.value)
        assert state_of(model) == before


def plain(model, inputs):
    return model.generate(
        **inputs, **SETTINGS, do_sample=False, return_dict_in_generate=True, output_logits=True, output_scores=True
    )


@functools.cache
def plainly(family, n):
    """What the family writes for `n` samples without a method. Kept, so that a method that left something on the
    shared model differs from it later."""
    out = plain(family.build()[0], family.inputs(n=n))
    return out.sequences, out.logits


@functools.cache
def actively(family, name, n):
    """What the family writes for `n` samples under the active setting of this row."""
    row = next(row for row in METHODS if row.name == name)
    out = with_method(family.build()[0], family.inputs(n=n), row.active)
    return out.sequences, out.logits, out.guard


def with_method(model, inputs, method, **settings):
    _, processor = {**FAMILIES, **MORE}[Path(model.config.name_or_path).name].build()
    kept = {"output_logits": True, "output_scores": True}
    return ls.generate(model, inputs, [method], **SETTINGS, do_sample=False, processor=processor, **kept, **settings)


def state_of(model):
    decoder = model.get_decoder()
    hooks = {k: len(getattr(m, k)) for m in model.modules() for k in ("_forward_hooks", "_forward_pre_hooks")}
    names = {name: sorted(vars(module)) for name, module in model.named_modules()}
    names.pop("model", None)  # some families keep their last position offsets there, with plain generate too
    backends = [c._attn_implementation for c in (model.config, decoder.config, hf.text_config(model))]
    return backends, hooks, names, len(hf._switches)


def test_neutral_setting_is_bit_identical(family, row):
    sequences, logits = plainly(family, 2)
    got = with_method(family.build()[0], family.inputs(n=2), row.neutral)
    assert torch.equal(got.sequences, sequences)
    for ours, theirs in zip(got.logits, logits, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.each_kind
def test_it_does_something(family, row):
    n = 1 if row.name == "vcd" and family.name in ONE_BY_ONE else 2
    plain_sequences, plain_logits = plainly(family, n)
    sequences, logits, events = actively(family, row.name, n)
    if row.name == "guard" and not any(event.risk is not None or event.tries for text in events for event in text):
        pytest.skip("this random text names none of the guard's words")
    same = all(torch.equal(a, b) for a, b in zip(logits, plain_logits, strict=False))
    assert not (same and torch.equal(sequences, plain_sequences))


@pytest.mark.each_kind
def test_nothing_is_left_on_the_model(family, row):
    model, _ = family.build()
    inputs = family.inputs(n=1)
    sequences, _ = plainly(family, 1)
    before = state_of(model)
    with_method(model, inputs, row.active)
    assert state_of(model) == before
    if row.block:
        with row.active(model):
            assert state_of(model) != before
            model.generate(**inputs, **SETTINGS)
        assert state_of(model) == before
        with pytest.raises(KeyboardInterrupt), row.active(model):
            raise KeyboardInterrupt
        assert state_of(model) == before
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(plain(model, inputs).sequences, sequences)


@pytest.mark.each_kind
def test_block_and_generate_agree(family, row):
    if not row.block:
        pytest.skip("decides tokens: there is no block form")
    model, _ = family.build()
    with row.active(model):
        block = plain(model, family.inputs(n=2))
    sequences, logits, _ = actively(family, row.name, 2)
    assert torch.equal(block.sequences, sequences)
    assert all(torch.equal(a, b) for a, b in zip(block.logits, logits, strict=True))


@pytest.mark.each_kind
def test_a_batch_gives_what_single_calls_give(family, row):
    if not family.padded:
        pytest.skip("transformers itself gives padded prompts something else")
    model, _ = family.build()
    n = 3
    inputs = family.inputs(n=n)
    if row.name == "vcd" and family.name in ONE_BY_ONE:
        with pytest.raises(InputError, match="one by one"):
            with_method(model, inputs, row.active)
        return
    batch = with_method(model, inputs, row.active)
    for sample in (0, n - 1):
        single = alone(family, n, sample)
        out = with_method(model, single, row.active, sample_ids=[sample])
        answer = out.sequences[0, single["input_ids"].shape[1] :]
        assert torch.equal(batch.sequences[sample, inputs["input_ids"].shape[1] :][: len(answer)], answer)
        assert [s.token_id for s in batch.steps[sample]] == [s.token_id for s in out.steps[0]]


@pytest.mark.each_kind
def test_cached_decoding_gives_what_full_recomputation_gives(family, row):
    if row.searches:
        with pytest.raises(SettingError, match="cache"):
            with_method(family.build()[0], family.inputs(n=1), row.active, use_cache=False)
        return
    if not row.cacheable:
        pytest.skip("edits earlier rows anew as the text grows")
    model, _ = family.build()
    inputs = family.inputs(n=1)
    if family.name in ROUGH:
        model, inputs = family.fresh()[0].double(), inputs.to(torch.float64)
    if row.name.startswith("sgrs") and shares_keys(model):
        with pytest.raises(UnsupportedModelError, match="leave use_cache on"):
            with_method(model, inputs, row.active, use_cache=False)
        return
    cached = with_method(model, inputs, row.active)
    full = with_method(model, inputs, row.active, use_cache=False)
    assert torch.equal(cached.sequences, full.sequences)
    # in float64 an edit of attention is still made in float32
    atol, rtol = (1e-3, 1e-5) if family.name in ROUGH else (2e-3, 1e-3)
    apart = 0
    for a, b in zip(cached.logits, full.logits, strict=True):
        alike = a.isinf() == b.isinf()
        apart += int((~alike).sum())
        torch.testing.assert_close(a[alike], b[alike], atol=atol, rtol=rtol)
    assert apart <= int((family.name, row.name) == AT_THE_CUT)


@pytest.mark.each_kind
def test_two_pictures_in_a_row_share_no_state(family, row):
    model, _ = family.build()
    first, second = family.inputs(n=1, seed=0), family.inputs(n=1, seed=1)
    alone_second = with_method(model, second, row.active).sequences
    with_method(model, first, row.active)
    assert torch.equal(with_method(model, second, row.active).sequences, alone_second)


@pytest.fixture(scope="module")
def halved():
    """`halved(family, dtype)`: a model of its own in half precision, inputs for it, and what it writes by itself."""

    @functools.cache
    def build(family, dtype):
        model, inputs = family.fresh()[0].to(dtype), family.inputs(n=2).to(dtype)
        return model, inputs, plain(model, inputs)

    return build


HALVES = [
    pytest.param(name, dtype, marks=[] if fast else pytest.mark.slow, id=f"{name}-{dtype}")
    for name, dtype, fast in (
        ("llava", torch.bfloat16, True),
        ("qwen2_5_vl", torch.float16, True),
        ("llava", torch.float16, False),
        ("qwen2_5_vl", torch.bfloat16, False),
    )
]


@pytest.mark.parametrize(("name", "dtype"), HALVES)
@pytest.mark.parametrize("row", METHODS, ids=lambda row: row.name)
def test_half_precision_stays_finite(row, name, dtype, halved):
    family = FAMILIES[name]
    model, inputs, want = halved(family, dtype)
    out = with_method(model, inputs, row.active)
    for logits in out.logits:
        assert not torch.isnan(logits).any()
        assert torch.isfinite(logits.amax(-1)).all(), "what a constraint leaves out is -inf, the best is not"
    got = with_method(model, inputs, row.neutral)
    assert torch.equal(got.sequences, want.sequences)
    assert all(torch.equal(a, b) for a, b in zip(got.logits, want.logits, strict=True))


@pytest.mark.parametrize("row", [row for row in METHODS if row.pictures], ids=lambda row: row.name)
def test_what_acts_on_pictures_refuses_inputs_without(row):
    for name in ("llama", "llava"):
        family = FAMILIES[name]
        model, _ = family.build()
        with pytest.raises(SettingError, match="hold none"):
            with_method(model, family.inputs(n=1, images=0), row.active)


@pytest.mark.parametrize("row", [row for row in METHODS if not row.searches], ids=lambda row: row.name)
def test_the_declared_number_of_passes_is_made(row):
    family = FAMILIES["llava"]
    model, _ = family.build()
    out = with_method(model, family.inputs(n=2), row.active)
    steps = max(map(len, out.steps))
    assert out.cost.forwards == steps * (1 + row.active.extra_forwards)
    assert row.neutral.extra_forwards == 0
