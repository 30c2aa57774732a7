"""Where a text ends when the call said so: `steps`, `valid`, the cost and the scores agree on it."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import GenerationConfig

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from zoo import FAMILIES

CALLS = {
    "greedy": {},
    "locore": {"methods": [ls.LocoRE(beta=1.0)]},
    "sgrs": {"methods": [ls.SGRS(seed=1)]},
    "sgrs in blocks": {"methods": [ls.SGRS(seed=1, execution="blockwise")]},
    "vcd": {"methods": [ls.VCD(seed=1)]},
    "beams": {"num_beams": 2},
    "search": {"methods": [ls.method("beam")]},
}


@pytest.fixture
def llava():
    family = FAMILIES["llava"]
    model, _ = family.build()
    before, text = model.generation_config, model.config.get_text_config()
    pad = text.pad_token_id
    model.generation_config = copy.deepcopy(before)
    yield model, family.inputs(n=2)
    model.generation_config, text.pad_token_id = before, pad


def end_in(model, inputs, call):
    """An id that one of two texts has early and the other has not."""
    length = inputs["input_ids"].shape[1]
    texts = ls.generate(model, inputs, max_new_tokens=9, min_new_tokens=9, do_sample=False, **call).sequences
    first, second = texts[:, length:].tolist()
    for at in range(1, 6):
        if first[at] not in second and first[at] not in first[:at]:
            return first[at]
    pytest.skip("no such token in these two texts")


@pytest.mark.parametrize("own_pad", [None, 0])
@pytest.mark.parametrize("call_pad", [None, 2])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_the_end_that_the_call_names(llava, call, own_pad, call_pad):
    model, inputs = llava
    model.generation_config.pad_token_id = model.config.get_text_config().pad_token_id = own_pad
    end = end_in(model, inputs, call)
    ids = {"eos_token_id": [end, 399]} | ({} if call_pad is None else {"pad_token_id": call_pad})
    out = ls.generate(model, inputs, max_new_tokens=9, do_sample=False, **ids, **call)
    length = inputs["input_ids"].shape[1]
    lengths = [len(steps) for steps in out.steps]
    answers = out.sequences[:, length:].tolist()
    assert lengths == [answer.index(end) + 1 if end in answer else len(answer) for answer in answers]
    assert min(lengths) < max(lengths)
    assert out.cost.kept == sum(lengths)
    assert out.eos_token_id == (end, 399)
    methods = [m for m in call.get("methods", []) if hasattr(m, "edit_rows")]
    for trace in (
        ls.trace(model, inputs, out, methods=methods),
        ls.trace(model, inputs, out.sequences, methods=methods, **ids),
        ls.trace(model, inputs, out.sequences, methods=methods, eos_token_id=torch.tensor([end])),
    ):
        assert trace.valid.sum(1).tolist() == lengths
        assert torch.equal(trace.logprobs.isnan(), ~trace.valid)
        assert trace.regions.output[:, length:].sum(1).tolist() == lengths
        assert not trace.rows[~trace.valid[:, None].expand(trace.rows.shape[:3])].any()


def test_a_configuration_object_may_name_it_too(llava):
    model, inputs = llava
    end = end_in(model, inputs, {})
    config = GenerationConfig(max_new_tokens=9, do_sample=False, eos_token_id=end, pad_token_id=2)
    out = ls.generate(model, inputs, [ls.LocoRE(beta=0.0)], generation_config=config)
    assert (out.eos_token_id, out.pad_token_id) == ((end,), 2)
    assert ls.trace(model, inputs, out).valid.sum(1).tolist() == [len(steps) for steps in out.steps]


def test_ids_given_beside_an_output_count_and_others_are_refused(llava):
    model, inputs = llava
    out = ls.generate(model, inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    second = int(out.sequences[0, inputs["input_ids"].shape[1] + 1])
    assert int(ls.trace(model, inputs, out, eos_token_id=second).valid[0].sum()) <= 2
    for wrong in ("</s>", 2.0, True, []):
        with pytest.raises(SettingError, match="eos_token_id must be a token id"):
            ls.trace(model, inputs, out, eos_token_id=wrong)
    with pytest.raises(SettingError, match="pad_token_id must be a token id"):
        ls.trace(model, inputs, out, pad_token_id="<pad>")
