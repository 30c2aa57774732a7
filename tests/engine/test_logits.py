"""Log p, entropy and the loss's gradient from one buffer, against float64 and the textbook."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlm_saliency.errors import NumericalError
from lvlm_saliency.tracing.logits import finite_logits, loss_gradient, token_odds


def textbook(logits, targets):
    exact, index = logits.double(), targets[..., None]
    log_p = torch.log_softmax(exact, -1)
    others = torch.softmax(exact.scatter(-1, index, float("-inf")), -1)
    entropy = -(log_p.exp() * log_p.masked_fill(log_p == float("-inf"), 0)).sum(-1)
    return others.scatter(-1, index, -1.0), log_p.gather(-1, index)[..., 0], entropy


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    spread=st.floats(0, 60),
    shift=st.floats(-100, 100),
    sure=st.booleans(),
    barred=st.integers(0, 20),
    vocabulary=st.integers(25, 300),
)
def test_they_are_those_of_the_textbook(seed, spread, shift, sure, barred, vocabulary):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, vocabulary, generator=draw) * spread + shift
    targets = torch.randint(barred, vocabulary, (2, 3), generator=draw)
    logits[..., :barred] = float("-inf")
    if sure:
        logits.scatter_(-1, targets[..., None], 3e3)  # 1 - p vanishes in any precision, the gradient must not
    before = logits.clone()
    gradient, log_p, entropy = token_odds(logits, targets)
    assert torch.equal(logits, before)
    assert torch.equal(gradient, loss_gradient(logits, targets))
    expected = textbook(logits, targets)
    scale = 1 + logits[..., barred:].abs().max().item()
    torch.testing.assert_close(gradient.double(), expected[0], atol=1e-6 * scale, rtol=1e-4)
    torch.testing.assert_close(log_p.double(), expected[1], atol=1e-6 * scale, rtol=1e-6)
    # A float32 sum of `vocabulary` terms: where all are equal, each addition rounds the same way.
    torch.testing.assert_close(entropy.double(), expected[2], atol=(2e-6 + 1.5e-8 * vocabulary) * scale, rtol=1e-5)


def test_the_gradient_is_the_losses_up_to_a_factor():
    logits = torch.randn(4, 50, dtype=torch.float32, requires_grad=True)
    targets = torch.tensor([3, 0, 49, 20])
    torch.nn.functional.cross_entropy(logits, targets, reduction="sum").backward()
    mine = loss_gradient(logits.detach(), targets)
    torch.testing.assert_close(
        mine / mine.norm(dim=-1, keepdim=True), logits.grad / logits.grad.norm(dim=-1, keepdim=True)
    )


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_broken_logits_are_told(broken):
    logits = torch.zeros(1, 5)
    logits[0, 2] = broken
    with pytest.raises(NumericalError, match="not finite"):
        finite_logits(logits)
    with pytest.raises(NumericalError, match="not finite"):
        finite_logits(torch.full((1, 5), float("-inf")))


MASKS = [float("-inf"), torch.finfo(torch.float32).min, -65504.0, -1e4]


@pytest.mark.parametrize("mask", MASKS)
def test_a_token_without_an_alternative_has_no_gradient(mask):
    logits = torch.full((2, 1, 40), mask)
    logits[0, 0, 7], logits[1, 0, 3:9] = 5.0, torch.randn(6)
    targets = torch.tensor([[7], [4]])
    gradient, log_p, entropy = token_odds(logits, targets)
    assert torch.equal(loss_gradient(logits, targets), gradient)
    assert not gradient[0].any()
    assert (log_p[0].item(), entropy[0].item()) == (0.0, 0.0)
    expected = textbook(logits[1], targets[1])
    torch.testing.assert_close(gradient[1].double(), expected[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close((log_p[1].double(), entropy[1].double()), expected[1:], atol=1e-6, rtol=1e-5)


def test_a_vocabulary_of_one_token():
    gradient, log_p, entropy = token_odds(torch.tensor([[3.0]]), torch.tensor([0]))
    assert (gradient.tolist(), log_p.tolist(), entropy.tolist()) == ([[0.0]], [0.0], [0.0])


def test_a_token_that_the_model_calls_impossible():
    logits = torch.randn(1, 30)
    logits[0, 5] = float("-inf")
    gradient, log_p, entropy = token_odds(logits, torch.tensor([5]))
    expected = textbook(logits, torch.tensor([5]))
    torch.testing.assert_close(gradient.double(), expected[0], atol=1e-6, rtol=1e-5)
    assert log_p.item() == float("-inf")
    assert entropy.item() == pytest.approx(expected[2].item(), abs=1e-6)
