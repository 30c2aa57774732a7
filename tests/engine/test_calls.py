"""Calls that would answer something else than was asked: right, or refused in one line."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import InputError, SettingError
from zoo import FAMILIES

NO_ROWS = {
    "sgrs": (lambda: ls.SGRS(seed=0), "sgrs chooses tokens and edits no attention rows"),
    "sample": (lambda: ls.method("sample"), "sample chooses tokens and edits no attention rows"),
    "beam": (lambda: ls.method("beam"), "beam chooses tokens and edits no attention rows"),
    "vcd": (lambda: ls.VCD(seed=0), "vcd makes its logits of other passes"),
    "icd": (lambda: ls.method("icd", instruction=(5, 6)), "icd makes its logits of other passes"),
    "dola": (lambda: ls.method("dola"), "dola makes its logits of other passes"),
    "causalmm": (ls.CausalMM, "causalmm makes its logits of other passes"),
    "a name": (lambda: "locore", r"pass ls\.method\('locore'"),
    "a class": (lambda: ls.LocoRE, r"LocoRE is not a method but a class: pass LocoRE\(\.\.\.\)"),
    "a number": (lambda: 3, "3 is not a method"),
}


@pytest.fixture(scope="module")
def written():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    return model, inputs, model.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)


@pytest.mark.parametrize(("make", "reason"), NO_ROWS.values(), ids=NO_ROWS.keys())
def test_a_trace_refuses_what_edits_no_rows(written, make, reason):
    model, inputs, sequences = written
    for methods in ([make()], [ls.LocoRE(), make()]) if reason[:6] != "LocoRE" else ([make()],):
        with pytest.raises(SettingError, match=reason):
            ls.trace(model, inputs, sequences, methods=methods)


def test_a_trace_refuses_a_method_given_twice_and_takes_one_without_a_list(written):
    model, inputs, sequences = written
    with pytest.raises(SettingError, match="locore is given twice"):
        ls.trace(model, inputs, sequences, methods=[ls.LocoRE(), ls.LocoRE(beta=1.0)])
    alone = ls.trace(model, inputs, sequences, methods=ls.LocoRE(beta=1.0))
    assert torch.equal(alone.rows, ls.trace(model, inputs, sequences, methods=[ls.LocoRE(beta=1.0)]).rows)
    assert not torch.equal(alone.rows, ls.trace(model, inputs, sequences).rows)


def ids_alone(inputs):
    return inputs["input_ids"]


@pytest.mark.parametrize("make", [ids_alone, lambda _: None, lambda _: [1, 2], lambda _: "Describe this."])
@pytest.mark.parametrize("call", [lambda m, i, _: ls.generate(m, i), ls.trace, lambda m, i, _: ls.token_regions(m, i)])
def test_inputs_that_are_no_mapping_are_named(written, make, call):
    model, inputs, sequences = written
    with pytest.raises(InputError, match="inputs must be what the processor returned, not a") as refusal:
        call(model, make(inputs), sequences)
    assert ("pass {'input_ids': ids}" in str(refusal.value)) == (make is ids_alone)


def test_a_trace_reads_ids_alone(written):
    model, inputs, sequences = written
    with pytest.raises(InputError, match="leave those out"):
        ls.trace(model, {**inputs, "inputs_embeds": torch.zeros(1, 3, 64)}, sequences)


@pytest.mark.parametrize("layers", [1, "0", 1.5])
def test_layers_that_are_no_list_are_named(written, layers):
    with pytest.raises(SettingError, match="give a list of layer numbers"):
        ls.trace(*written, layers=layers)


def test_none_in_a_call_switches_a_setting_of_the_checkpoint_off():
    """As `generate` has it: what is named in the call comes before the model's own settings, None too."""
    model, _ = FAMILIES["llava"].fresh()
    inputs = FAMILIES["llava"].inputs(n=1)
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    right = ls.generate(model, inputs, [ls.LocoRE(beta=2.0)], **settings).sequences
    model.generation_config.guidance_scale = 2.0
    model.generation_config.token_healing = True
    off = {"guidance_scale": None, "token_healing": None}
    with ls.LocoRE(beta=2.0)(model):
        assert torch.equal(model.generate(**inputs, **settings, **off), right)
        with pytest.raises(SettingError, match="token_healing"):
            model.generate(**inputs, **settings, guidance_scale=None)
        with pytest.raises(SettingError, match="guidance_scale"):
            model.generate(**inputs, **settings, token_healing=False)


@pytest.mark.parametrize("methods", [[], [ls.LocoRE()], [ls.VCD(seed=0)], [ls.SGRS(seed=0)]], ids=str)
@pytest.mark.parametrize(
    "cache", [(), ((torch.zeros(1, 2, 3, 16),) * 2,) * 3, "cache"], ids=["empty", "tuples", "text"]
)
def test_a_cache_that_is_none_is_named(written, cache, methods):
    model, inputs, _ = written
    with pytest.raises(SettingError, match="not a Cache of transformers: leave it out"):
        ls.generate(model, inputs, methods, max_new_tokens=2, past_key_values=cache)


@pytest.mark.parametrize(("make", "reason"), [NO_ROWS["a name"], NO_ROWS["a class"], NO_ROWS["a number"]])
def test_generate_refuses_what_is_no_method(written, make, reason):
    model, inputs, _ = written
    for methods in ([make()], make()):
        with pytest.raises(SettingError, match=reason):
            ls.generate(model, inputs, methods, max_new_tokens=2)
