"""Rows that are kept for later: the weights of some samples are those that a capture of all of them holds."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.attention.session import session
from lvlm_saliency.attention.state import Capture
from lvlm_saliency.scenes import draw_scene, generate_scenes


@pytest.mark.parametrize("methods", [[], [ls.LocoRE(beta=0.5)]])
def test_rows_kept_for_later_give_the_same_weights(methods):
    model, processor = ls.load_model("scenes")
    processor.tokenizer.padding_side = "left"
    prompts = ["Describe the image.", "Please describe this image in detail.", "Write a caption."]
    inputs = processor(
        images=[[draw_scene(scene)] for scene in generate_scenes(3, 5)],
        text=[f"USER: <image>\n{prompt} ASSISTANT:" for prompt in prompts],
        padding=True,
        return_tensors="pt",
    )
    editors = [part for method in methods for part in method.bind(model).editors]
    found = []
    with torch.no_grad(), session(model, editors) as state:
        for later in (False, True):
            state.capture = capture = Capture(graph=False, later=later)
            logits = model(**inputs, use_cache=False, return_dict=True).logits
            found.append((capture, logits))
    (at_once, logits), (kept, again) = found
    assert torch.equal(logits, again)
    assert not kept.weights
    assert set(kept.rows) == set(at_once.weights)
    chosen = torch.tensor([2, 0])
    for layer, weights in at_once.weights.items():
        torch.testing.assert_close(kept.rows[layer].weights_of(chosen), weights[chosen], rtol=0, atol=1e-6)


def test_limits_that_are_plain_are_read_and_others_are_called():
    from transformers import StoppingCriteriaList
    from transformers.generation.stopping_criteria import EosTokenCriteria, MaxLengthCriteria, MaxTimeCriteria

    plain = StoppingCriteriaList([MaxLengthCriteria(9), EosTokenCriteria(torch.tensor([2, 3])), MaxLengthCriteria(7)])
    assert hf.plain_limits(plain) == (7, frozenset([2, 3]))
    assert hf.plain_limits(StoppingCriteriaList([*plain, MaxTimeCriteria(1.0)])) is None
