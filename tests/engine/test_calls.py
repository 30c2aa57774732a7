"""Calls that would answer something else than was asked: right, or refused in one line."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
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


@pytest.mark.parametrize(("make", "reason"), [NO_ROWS["a name"], NO_ROWS["a class"], NO_ROWS["a number"]])
def test_generate_refuses_what_is_no_method(written, make, reason):
    model, inputs, _ = written
    for methods in ([make()], make()):
        with pytest.raises(SettingError, match=reason):
            ls.generate(model, inputs, methods, max_new_tokens=2)
