"""A model whose pictures were seen before it is asked for its hidden states or maps: no state is collected twice."""

from __future__ import annotations

import pytest
import torch
from transformers.utils import output_capturing

import lvlm_saliency as ls
from lvlm_saliency import hf
from zoo import FAMILIES, MORE


def hooks(model):
    """How many of transformers' own hooks stand on each part of the model."""
    kind = output_capturing.__name__
    return {
        name: sum(hook.__module__ == kind for hook in module._forward_hooks.values())
        for name, module in model.named_modules()
    }


def test_hooks_that_stand_already_are_not_put_again():
    family = FAMILIES["llava"]
    model, _ = family.fresh()
    inputs = family.inputs()
    hf.capture_once(model)
    assert not any(hooks(model).values()), "where none stand, transformers puts each once by itself"
    model.generate(**inputs, max_new_tokens=1)
    tower = {name: count for name, count in hooks(model).items() if count}
    assert tower
    assert all("vision" in name for name in tower)
    hf.capture_once(model)
    found = hooks(model)
    assert {name: found[name] for name in tower} == tower
    assert sum(found.values()) > sum(tower.values())
    hf.capture_once(model)
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True)
    assert hooks(model) == found
    assert len(out.hidden_states) == len(hf.decoder_layers(model)) + 1


def test_a_block_leaves_what_was_there():
    family = FAMILIES["llava"]
    model, _ = family.fresh()
    model.generate(**family.inputs(), max_new_tokens=1)
    before = hooks(model)
    with hf.maps_asked_for(model):
        assert sum(hooks(model).values()) > sum(before.values())
    assert hooks(model) == before


@pytest.mark.slow
def test_hidden_states_of_a_model_whose_tower_lies_inside_its_decoder():
    """Phi-4-multimodal reads pictures from a hidden state of its tower: collected twice, they are not there."""
    pytest.importorskip("torchvision")
    family = MORE["phi4_multimodal"]
    model, _ = family.fresh()
    inputs, settings = family.inputs(), {"max_new_tokens": 2, "min_new_tokens": 2, "do_sample": False}
    asked = {**settings, "output_hidden_states": True, "return_dict_in_generate": True}
    wanted = family.fresh()[0].generate(**inputs, **asked)  # asked from its first call on
    plain = ls.generate(model, inputs, **settings)
    for _ in range(2):
        found = ls.generate(model, inputs, **asked)
        assert torch.equal(found.sequences, wanted.sequences)
        for own, states in zip(found.hidden_states, wanted.hidden_states, strict=True):
            for one, state in zip(own, states, strict=True):
                torch.testing.assert_close(one, state)
    assert torch.equal(ls.generate(model, inputs, **settings).sequences, plain.sequences)
