"""DoLa: divergences, the chosen layer, and the hidden states that it reads."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.dola import DoLa
from zoo import FAMILIES

SETTINGS = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
modes = st.sampled_from(["paper", "official_code"])


def random_logits(seed, layers=3, batch=2, vocabulary=13):
    random = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(batch, vocabulary, generator=random), 3 * torch.randn(
        layers, batch, vocabulary, generator=random
    )


@given(st.integers(0, 10**6), modes)
@settings(deadline=None)
def test_divergences_are_those_of_the_definition(seed, mode):
    last, early = random_logits(seed)
    got = DoLa(mode=mode).divergences(last, early)
    p, q = torch.softmax(last.double(), -1), torch.softmax(early.double(), -1)
    m = (p + q) / 2

    def kl(a, b):
        return (a * (a / b).log()).sum(-1)

    want = (kl(p.expand_as(q), m) + kl(q, m)) / 2 if mode == "paper" else (kl(m, p.expand_as(q)) + kl(m, q)) / 2
    torch.testing.assert_close(got.double(), want, atol=1e-4, rtol=1e-3)
    assert (got >= -1e-6).all()
    assert DoLa(mode=mode).divergences(last, last[None] + 2.0).abs().max() < 1e-5
    far = DoLa(mode=mode).divergences(torch.tensor([[900.0, 0.0]]), torch.tensor([[[0.0, 900.0]]]))
    assert torch.isfinite(far).all(), "nothing underflows to 0 * inf"


@given(st.integers(0, 10**6), modes, st.floats(0.001, 1))
@settings(deadline=None)
def test_the_most_different_layer_is_subtracted_for_each_sample(seed, mode, top):
    last, early = random_logits(seed)
    method = DoLa(mode=mode, relative_top=top)
    out = method.combine(last, list(early))
    layer = method.divergences(last, early).argmax(0)
    for sample in range(2):
        p = torch.log_softmax(last[sample], -1)
        want = p - torch.log_softmax(early[layer[sample], sample], -1)
        keep = torch.isfinite(out[sample])
        assert torch.equal(keep, last[sample] >= last[sample].max() + torch.tensor(top).log())
        torch.testing.assert_close(out[sample][keep], want[keep], atol=1e-4, rtol=1e-4)
        alone = method.combine(last[sample : sample + 1], [e[sample : sample + 1] for e in early])
        torch.testing.assert_close(alone[0], out[sample])
    moved = method.combine(last + 5, [e - 3 for e in early])
    torch.testing.assert_close(moved, out, atol=1e-4, rtol=1e-3)
    assert torch.equal(DoLa(mode=mode, relative_top=1.0).combine(last, list(early)).argmax(-1), last.argmax(-1))


def test_the_same_layer_twice_says_nothing():
    last, _ = random_logits(0)
    out = DoLa(relative_top=0.1).combine(last, [last])
    assert out[torch.isfinite(out)].abs().max() < 1e-5


@pytest.mark.parametrize("name", ["llava", "gemma2", "qwen2_vl", "qwen3_5"])
def test_it_reads_the_hidden_states_before_the_last_norm(name, monkeypatch):
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    states = [0, 1, 2]
    seen = []
    combine = DoLa.combine
    monkeypatch.setattr(DoLa, "combine", lambda self, main, early: seen.append(early) or combine(self, main, early))
    out = ls.generate(model, inputs, [DoLa(candidate_layers=states)], **SETTINGS, output_hidden_states=True)
    cap = getattr(model.config.get_text_config(decoder=True), "final_logit_softcapping", None)
    for hidden, early in zip(out.hidden_states, seen, strict=True):
        for number, logits in zip(states, early, strict=True):
            want = model.get_output_embeddings()(hidden[number][:, -1]).float()
            want = want if cap is None else cap * torch.tanh(want / cap)
            torch.testing.assert_close(logits, want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("depth", "low", "high"),
    [  # the released commands, for 7, 13, 30 and 65 billion parameters
        (32, range(0, 16, 2), range(16, 32, 2)),
        (40, range(0, 20, 2), range(20, 40, 2)),
        (60, range(0, 20, 2), range(40, 60, 2)),
        (80, range(0, 20, 2), range(60, 80, 2)),
        (42, range(0, 20, 2), range(22, 42, 2)),  # and depths that they do not name
        (45, range(0, 20, 2), range(26, 45, 2)),
        (3, range(0, 2, 2), range(2, 3, 2)),
    ],
)
def test_the_buckets_of_the_released_commands(depth, low, high, monkeypatch):
    monkeypatch.setattr(hf, "decoder_layers", lambda _model: [None] * depth)
    model, _ = FAMILIES["llava"].build()
    for mode in ("paper", "official_code"):
        assert DoLa(mode=mode).layers(model) == list(low)
        assert DoLa(mode=mode, candidate_layers="high").layers(model) == list(high)


def test_candidate_layers():
    tied, free = FAMILIES["gemma2"].build()[0], FAMILIES["llava"].build()[0]
    count = len(free.get_decoder().layers)
    assert DoLa().layers(free)[0] == 0
    assert 0 not in DoLa().layers(tied)
    assert set(DoLa(candidate_layers="high").layers(free)) <= set(range((count + 1) // 2, count))
    with pytest.raises(SettingError, match=r"hidden states 0\.\.2"):
        DoLa(candidate_layers=[count]).check_model(free)
    with pytest.raises(SettingError, match="did you mean 'low'"):
        DoLa(candidate_layers="lo")


def test_it_composes_with_sgrs():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    out = ls.generate(model, inputs, [DoLa(), ls.SGRS(alpha=0.9, order="greedy")], max_new_tokens=5, output_logits=True)
    assert any(step.threshold is not None for step in out.steps[0])
    assert out.cost.backwards
