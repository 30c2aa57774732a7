"""`ls.check`: it passes where all is well, and each planted fault makes its own line fail and no other."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.attention import row_backward
from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.checks import lines
from lvlm_saliency.checks.state import differences, state_of
from lvlm_saliency.errors import InputError, UnsupportedModelError
from lvlm_saliency.interventions.memvr import MemVR
from lvlm_saliency.interventions.memvr.retracing import Retracing
from lvlm_saliency.interventions.sgrs.rejection import SaliencyGate
from zoo import FAMILIES, REFUSED

EVERY = ["can be traced", "writes a text", "rows = definition", "neutral LocoRE", "neutral SGRS"]
PICTURES = ["neutral MemVR", "image tokens found", "image tokens laid out"]
LAST = ["cached = recomputed", "nothing left"]


def states(report):
    return {row.name: row.state for row in report.rows}


@pytest.mark.parametrize(
    "name", ["llava", "llava_onevision", "qwen2_vl", "smolvlm", "gemma3", "llama", "gemma2", "qwen3_5"]
)
def test_all_is_well_and_nothing_is_left(name):
    family = FAMILIES[name]
    model, processor = family.fresh()
    model.requires_grad_(False)
    model.train()  # however it comes, it goes
    plain = family.inputs(n=1)
    model.eval().generate(**plain, max_new_tokens=1)  # m-RoPE families remember the offsets of their last prompt
    model.train()
    before = state_of(model)
    report = ls.check(model, processor)
    assert not differences(before, state_of(model))
    assert report.ok, str(report)
    assert set(states(report).values()) == {"pass"}
    names = EVERY + (["neutral DoLa"] if family.text_only else PICTURES) + LAST
    assert [row.name for row in report.rows] == names
    assert report.text_only == family.text_only
    for row in report.rows[2:]:
        assert row.figure <= row.limit
    assert 0 < next(row for row in report.rows if row.name == "rows = definition").figure < 5e-5


@pytest.mark.parametrize(
    "own",
    [
        {"num_beams": 3, "num_return_sequences": 2, "stop_strings": ["a"], "token_healing": True},
        {"penalty_alpha": 0.6, "top_k": 4},
        {"dola_layers": "low"},
        {"cache_implementation": "static", "guidance_scale": 2.0, "prompt_lookup_num_tokens": 3, "max_time": 1e-9},
    ],
    ids=str,
)
def test_generation_settings_of_a_checkpoint_are_no_fault_of_the_model(own):
    model, processor = FAMILIES["llama"].fresh()
    for name, value in own.items():
        setattr(model.generation_config, name, value)
    report = ls.check(model, processor)
    assert report.ok, str(report)


def test_what_a_model_s_own_code_raises_is_a_line(monkeypatch):
    model, processor = FAMILIES["llama"].fresh()
    for raised in (
        AssertionError("odd width"),
        ImportError("a kernel is missing"),
        ZeroDivisionError("by 0"),
        OSError(5),
    ):

        def fail(*_args, _raised=raised, **_kwargs):
            raise _raised

        monkeypatch.setattr(model, "forward", fail)
        (_, row) = ls.check(model, processor).rows
        assert row.state == "fail"
        assert type(raised).__name__ in row.detail


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_have_their_own_limits(dtype):
    model, processor = FAMILIES["llava"].fresh()
    report = ls.check(model.to(dtype), processor)
    assert report.ok, str(report)
    assert report.dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_model_has_its_reason_for_a_line(name):
    model, processor = REFUSED[name].fresh()
    report = ls.check(model, processor)
    assert not report.ok
    (row,) = report.rows
    assert row.state == "refused"
    with pytest.raises(UnsupportedModelError) as refusal:
        hf.supported_decoder(model)
    assert row.detail == str(refusal.value)
    assert "REFUSED" in str(report)
    assert "refused: this model cannot be traced here" in str(report)


def wrong_rows(patch):
    """A token's own key carries no gradient, as where layers share their keys and nobody minded."""
    made = row_backward._block_gradients

    def keyless(*given):
        grads = made(*given)
        return (grads[0], 0 * grads[1], grads[2]) if grads else grads

    patch.setattr(row_backward, "_block_gradients", keyless)


def acting_though_off(patch):
    edit = ls.LocoRE.edit_rows

    def acts(self, context):
        shape = torch.zeros(1, 1, context.new, context.keys)
        shape[..., 0] = 1e-3
        return edit(self, context) if self.beta else RowEdit(bias=shape)

    patch.setattr(ls.LocoRE, "edit_rows", acts)


def refusing_though_off(patch):
    def selector(self, model, sample_ids):
        strict = dataclasses.replace(self, alpha=50.0 if self.alpha == 0 else self.alpha, execution="stepwise")
        return SaliencyGate(strict, self.target_layers(model), sample_ids)

    patch.setattr(ls.SGRS, "selector", selector)
    patch.setattr(ls.SGRS, "execution", "stepwise")


def looking_though_off(patch):
    hooks = MemVR.put

    def acts(self, model, session):
        if self.alpha:
            return hooks(self, model, session)
        return Retracing(dataclasses.replace(self, alpha=0.9, gamma=-1), model, session).hooks()

    patch.setattr(MemVR, "put", acts)


def other_features(patch):
    made = hf.picture_lengths
    patch.setattr(hf, "picture_lengths", lambda *given: [count + 1 for count in made(*given)])


def a_token_twice(patch):
    made = lines.image_layouts

    def doubled(*given):
        (layout,) = made(*given)[0]
        return [[dataclasses.replace(layout, extra=layout.tiles[0].positions[0, :1])]]

    patch.setattr(lines, "image_layouts", doubled)


def at_decode_steps_only(patch):
    edit = ls.LocoRE.edit_rows
    patch.setattr(ls.LocoRE, "edit_rows", lambda self, context: edit(self, context) if context.new == 1 else None)


FAULTS = {
    "rows = definition": wrong_rows,
    "neutral LocoRE": acting_though_off,
    "neutral SGRS": refusing_though_off,
    "neutral MemVR": looking_though_off,
    "image tokens found": other_features,
    "image tokens laid out": a_token_twice,
    "cached = recomputed": at_decode_steps_only,
}


@pytest.mark.parametrize(("name", "plant"), FAULTS.items(), ids=FAULTS)
def test_a_planted_fault_fails_its_own_line_and_no_other(name, plant, monkeypatch):
    model, processor = FAMILIES["llava"].fresh()
    plant(monkeypatch)
    report = ls.check(model, processor)
    assert [row.name for row in report.rows if row.state != "pass"] == [name], str(report)
    assert not report.ok
    row = next(row for row in report.rows if row.name == name)
    assert row.state == "fail"
    assert row.figure > row.limit


LEFT = {
    "a hook": lambda model: model.get_decoder().register_forward_hook(lambda *_: None),
    "an attribute": lambda model: setattr(model, "noted", 1),
    "a setting": lambda model: setattr(model.config.text_config, "rms_norm_eps", 0.5),
    "a setting of generate": lambda model: setattr(model.generation_config, "temperature", 0.5),
    "the backend": lambda model: setattr(model.config.text_config, "_attn_implementation_internal", "eager"),
    "a mode": lambda model: model.get_decoder().train(),
    "a weight": lambda model: torch.nn.init.zeros_(model.lm_head.weight),
    "a gradient": lambda model: setattr(model.lm_head.weight, "grad", torch.zeros_like(model.lm_head.weight)),
    "a frozen weight": lambda model: model.lm_head.weight.requires_grad_(False),
}


@pytest.mark.parametrize("what", LEFT)
def test_whatever_a_method_leaves_is_seen(what, monkeypatch):
    model, processor = FAMILIES["llava"].fresh()
    everything = lines.use_everything

    def leaving(subject):
        everything(subject)
        LEFT[what](subject.model)

    monkeypatch.setattr(lines, "use_everything", leaving)
    report = ls.check(model, processor)
    assert [row.name for row in report.rows if row.state != "pass"] == ["nothing left"], str(report)


def test_a_method_that_leaves_its_hook_is_seen(monkeypatch):
    model, processor = FAMILIES["llava"].fresh()
    hooks = MemVR.put

    def leaving(self, model, session):
        model.get_decoder().register_forward_hook(lambda *_: None)
        return hooks(self, model, session)

    monkeypatch.setattr(MemVR, "put", leaving)
    report = ls.check(model, processor)
    assert [row.name for row in report.rows if row.state != "pass"] == ["nothing left"], str(report)
    assert "_forward_hooks" in report.rows[-1].detail


def test_without_maps_it_is_said_and_no_pass(monkeypatch):
    model, processor = FAMILIES["llama"].fresh()
    monkeypatch.setattr(hf, "eager_language", lambda _model: torch.no_grad())  # stays on sdpa, which gives no maps
    report = ls.check(model, processor)
    row = next(row for row in report.rows if row.name == "rows = definition")
    assert row.state == "not possible"
    assert "nothing to compare with" in row.detail
    assert report.ok
    assert "1 not possible" in str(report)


def test_a_model_that_stumbles_fails_in_a_line(monkeypatch):
    model, processor = FAMILIES["llama"].fresh()
    forward = type(model).forward

    def stumbling(self, *args, **kwargs):
        if kwargs.get("output_attentions"):
            raise TypeError("unexpected keyword\nsecond line")
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(model), "forward", stumbling)
    report = ls.check(model, processor)
    failed = [row for row in report.rows if row.state != "pass"]
    assert [(row.name, row.detail) for row in failed] == [("rows = definition", "TypeError: unexpected keyword")]


def test_what_is_no_model_is_bad_input():
    model, _ = FAMILIES["llama"].build()
    with pytest.raises(InputError, match="takes a loaded model, not str"):
        ls.check("llava", None)
    with pytest.raises(InputError, match="processor or tokenizer, not NoneType"):
        ls.check(model, None)


def test_the_report_reads_at_eighty_columns():
    model, processor = FAMILIES["smolvlm"].build()
    report = ls.check(model, processor)
    assert max(map(len, str(report).splitlines())) <= 80
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.rows = ()
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["ok"] is True
    assert data["rows"][2]["name"] == "rows = definition"
