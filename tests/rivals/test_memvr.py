"""MemVR: when it looks again, at what, and how much of it."""

from __future__ import annotations

import copy
import math

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.memvr import MemVR, retracing
from lvlm_saliency.interventions.memvr.retracing import entropy, look_again, mixed
from zoo import FAMILIES

SETTINGS = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up_proj, self.down_proj = torch.nn.Linear(6, 9, bias=False), torch.nn.Linear(9, 6, bias=False)


def test_entropy_of_the_ten_largest():
    flat, sharp = torch.zeros(1, 40), torch.full((1, 40), -1e4)
    flat[0, 10:] = -50
    sharp[0, 3] = 0
    assert entropy(flat) == pytest.approx(1)
    assert entropy(sharp) == pytest.approx(0, abs=1e-6)
    p = torch.softmax(torch.arange(40.0).topk(10).values, -1)
    assert entropy(torch.arange(40.0)[None]) == pytest.approx(float(-(p * p.log()).sum() / math.log(10)), rel=1e-5)


@pytest.mark.parametrize("activation", ["identity", "silu"])
def test_looking_again_follows_the_formula(activation):
    torch.manual_seed(0)
    x, picture, block = torch.randn(4, 6), torch.randn(3, 6), Block()
    size = picture.abs().mean()
    up = block.up_proj.weight.abs().mean() / size * picture
    down = block.down_proj.weight.abs().mean() / size * picture
    inner = x @ up.T
    want = (inner if activation == "identity" else torch.nn.functional.silu(inner)) @ down
    got = look_again(x, picture, block, activation)
    torch.testing.assert_close(got / got.abs().mean(), want / want.abs().mean())
    other = look_again(x, 7.0 * picture, block, activation)
    torch.testing.assert_close(other / other.abs().mean(), want / want.abs().mean())


def test_rows_mix_with_the_size_of_their_own_group():
    torch.manual_seed(1)
    output, looked = torch.randn(5, 6), 30 * torch.randn(5, 6)
    group, counted = torch.tensor([0, 0, 0, 1, 2]), torch.tensor([False, True, True, True, True])
    got = mixed(output, looked, torch.tensor([True, False, True]), group, counted, 0.3)
    assert torch.equal(got[3], output[3])
    k = output[1:3].abs().mean() / looked[1:3].abs().mean()
    torch.testing.assert_close(got[1:3], 0.7 * output[1:3] + 0.3 * k * looked[1:3])
    added = (got[4] - 0.7 * output[4]) / 0.3
    assert added.abs().mean() == pytest.approx(float(output[4].abs().mean()), rel=1e-4)


@pytest.fixture
def calls(monkeypatch):
    """The forward calls of MemVR in the order in which they ended."""
    ended = []
    end = retracing.Retracing._end

    def keep(self, *args):
        if self.calls.call is not None:
            ended.append(self.calls.call)
        end(self, *args)

    monkeypatch.setattr(retracing.Retracing, "_end", keep)
    return ended


def deeper(family):
    """The family's model with its three layers repeated to nine."""
    model, _ = family.fresh()
    stack = model.get_decoder().layers
    for number in range(3, 9):
        layer = copy.deepcopy(stack[number % 3])
        layer.self_attn.layer_idx = number
        layer.self_attn.config = stack[0].self_attn.config  # a copy of its own would not be switched to our attention
        stack.append(layer)
    config = model.config.get_text_config(decoder=True)
    config.num_hidden_layers = 9
    if getattr(config, "layer_types", None):
        config.layer_types = list(config.layer_types) * 3
    return model


@pytest.mark.parametrize("name", ["llava", "qwen2_vl"])
def test_at_most_one_layer_of_a_pass_looks_again(name, calls):
    family = FAMILIES[name]
    model = deeper(family)
    inputs = family.inputs(n=1)
    ls.generate(model, inputs, [MemVR(gamma=-1, start=2, end=7)], **SETTINGS)
    assert [call.injected for call in calls] == [[4]] * 5, (
        "the first layer that may trigger does: start + 1, for start + 2"
    )
    calls.clear()
    ls.generate(model, inputs, [MemVR(gamma=0.9, start=0, end=8, alpha=0.5)], **SETTINGS)
    assert all(len(call.injected) <= 1 for call in calls)
    assert len({tuple(call.injected) for call in calls}) > 1, "the layer is chosen anew in every pass"
    assert MemVR().layers(model) == [3, 4, 5]


def test_the_picture_is_that_of_the_call(calls):
    """What went in at the image positions, per sample, and again for the next picture."""
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    ls.generate(model, inputs, [MemVR(gamma=-1)], **SETTINGS)
    features = model.model.get_image_features(inputs["pixel_values"]).pooler_output
    for call in calls:
        for sample in range(2):
            torch.testing.assert_close(call.pictures[sample], features[sample], atol=1e-5, rtol=1e-4)
    calls.clear()
    other = family.inputs(n=1, seed=3)
    ls.generate(model, other, [MemVR(gamma=-1)], **SETTINGS)
    fresh = model.model.get_image_features(other["pixel_values"]).pooler_output[0]
    torch.testing.assert_close(calls[-1].pictures[0], fresh, atol=1e-5, rtol=1e-4)
    calls.clear()
    text = family.inputs(n=1, images=0)
    with MemVR(gamma=-1)(model):
        model.generate(**text, **SETTINGS)
    assert not calls, "no picture, nothing to look at"


def test_the_released_code_for_qwen_reads_the_entropy_without_the_last_norm(monkeypatch):
    """That for LLaVA reads it through the norm, as the other mode does for both."""
    family = FAMILIES["qwen2_vl"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    number = MemVR().layers(model)[0]
    bare = model.lm_head(states[number])
    through = model.lm_head(model.get_decoder().norm(states[number]))
    assert (entropy(bare) - entropy(through)).abs().max() > 0.05
    seen = []
    monkeypatch.setattr(retracing, "entropy", lambda logits: seen.append(logits) or entropy(logits))
    for activation, mode, want in (
        ("silu", "official_code", bare),
        ("silu", "paper", through),
        ("identity", "official_code", through),
    ):
        seen.clear()
        ls.generate(model, inputs, [MemVR(activation=activation, mode=mode)], max_new_tokens=1)
        torch.testing.assert_close(seen[0][:, -1], want[:, -1], atol=1e-4, rtol=1e-4)


def test_a_gamma_that_is_never_reached_is_off():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    plain = ls.generate(model, inputs, **SETTINGS, output_logits=True)
    off = ls.generate(model, inputs, [MemVR(gamma=1, alpha=0.9)], **SETTINGS, output_logits=True)
    assert all(torch.equal(a, b) for a, b in zip(plain.logits, off.logits, strict=True))


def test_what_it_cannot_do_is_said():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    with pytest.raises(SettingError, match="strictly between"):
        MemVR(start=2, end=2).check_model(model)
    with pytest.raises(SettingError, match="comes in pieces"):
        ls.generate(model, inputs, [MemVR(gamma=-1)], **SETTINGS, prefill_chunk_size=5)
    sequences = ls.generate(model, inputs, [MemVR(gamma=-1)], **SETTINGS).sequences
    with pytest.raises(SettingError, match="trace without it"):
        ls.trace(model, inputs, sequences, methods=[MemVR(gamma=-1)])


def test_searches_over_beams():
    """transformers' own beams keep the prompt's cache; ours fork it."""
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    with pytest.raises(SettingError, match="leave one of the two out"):
        ls.generate(model, inputs, [MemVR(gamma=-1), ls.method("beam")], max_new_tokens=4)
    shaped = ls.generate(model, inputs, [MemVR(alpha=0.9, gamma=-1)], **SETTINGS, num_beams=2)
    with MemVR(alpha=0.9, gamma=-1)(model):
        assert torch.equal(shaped.sequences, model.generate(**inputs, **SETTINGS, num_beams=2))


def test_it_composes_with_sgrs_and_vcd():
    from lvlm_saliency.interventions.vcd import VCD

    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    for other in (ls.SGRS(alpha=0.9, seed=1), VCD(seed=1)):
        one = ls.generate(model, inputs, [MemVR(alpha=0.8, gamma=-1), other], **SETTINGS)
        two = ls.generate(model, inputs, [MemVR(alpha=0.8, gamma=-1), other], **SETTINGS)
        assert torch.equal(one.sequences, two.sequences)
