"""Methods of another package, written against `attention.parts` and `interventions.base` alone: one that edits
attention, decoders of kinds that are not built in, and listeners. No file of the package knows of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.attention.parts import Loop, Observer, Parts, Role, Selector, Shaper
from lvlm_saliency.decoding.run import Run
from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.systems import system
from lvlm_saliency.interventions import registry
from lvlm_saliency.interventions.base import AttentionMethod, Method
from lvlm_saliency.model.output import TokenRecord
from zoo import FAMILIES

SETTINGS = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}


@dataclass(frozen=True)
class Fading(AttentionMethod):
    """Attention to what stands far back fades."""

    name: ClassVar[str] = "fading"

    rate: float = 0.5

    def edit_rows(self, context):
        distance = context.query_positions[:, None] - context.key_positions[None, :]
        return RowEdit(bias=-self.rate * distance.clamp_min(0).float()[None, None])


class Runner(Selector):
    def __init__(self, rank):
        self.rank = rank

    def choose(self, step, logits, processed, capture, active):
        tokens = processed.topk(self.rank + 1, dim=-1).indices[:, self.rank].tolist()
        return [TokenRecord(token) if alive else None for token, alive in zip(tokens, active, strict=True)]


@dataclass(frozen=True)
class RunnerUp(Method):
    """The token of the given rank is taken, not the most probable one."""

    name: ClassVar[str] = "runner-up"
    roles: ClassVar[Role] = Role.TOKENS

    rank: int = 1

    def bind(self, model, run=None):
        return Parts(selector=Runner(self.rank))


class Halver(Shaper):
    def shaped(self, logits):
        return logits / 2


@dataclass(frozen=True)
class Halved(Method):
    name: ClassVar[str] = "halved"
    roles: ClassVar[Role] = Role.LOGITS

    def bind(self, model, run=None):
        return Parts(shaper=Halver())


class CutAt(Loop):
    def __init__(self, limit):
        self.limit = limit

    def decode(self, generation):
        generation.config.max_length = generation.input_ids.shape[1] + self.limit
        return Run(generation).finish()


@dataclass(frozen=True)
class Short(Method):
    """A loop of its own kind: it goes no further than `limit` tokens, whoever chooses them."""

    name: ClassVar[str] = "short"
    roles: ClassVar[Role] = Role.LOOP

    limit: int = 3

    def bind(self, model, run=None):
        return Parts(loop=CutAt(self.limit))


class Notes(Method, Observer):
    """Writes down what it hears; a method may carry a state where it is used once."""

    name: ClassVar[str] = "notes"
    roles: ClassVar[Role] = Role.HEARS

    def __init__(self, steers=False):
        self.heard, self._steers = {}, steers

    @property
    def steers(self):
        return self._steers

    def bind(self, model, run=None):
        return Parts(observers=(self,))

    def hear(self, sample, step, record, logits):
        assert logits.dim() == 1
        self.heard.setdefault(sample, []).append((step, record, logits.clone()))


@pytest.fixture(scope="module")
def llava():
    family = FAMILIES["llava"]
    return family.build()[0], family.inputs(n=2)


def answers(out, inputs):
    return out.sequences[:, inputs["input_ids"].shape[1] :]


def test_an_attention_method_in_generate_in_a_block_and_in_a_trace(llava):
    model, inputs = llava
    method = Fading()
    out = ls.generate(model, inputs, [method], **SETTINGS)
    plain = ls.generate(model, inputs, **SETTINGS)
    assert not torch.equal(out.sequences, plain.sequences)
    with method(model):
        assert torch.equal(model.generate(**inputs, **SETTINGS), out.sequences)
    assert torch.equal(model.generate(**inputs, **SETTINGS), plain.sequences)
    rows = ls.trace(model, inputs, out.sequences, methods=[method]).rows
    assert not torch.equal(rows, ls.trace(model, inputs, out.sequences).rows)


def test_a_selector_a_shaper_and_a_loop_of_new_kinds(llava):
    model, inputs = llava
    second = ls.generate(model, inputs, [RunnerUp()], **SETTINGS, output_scores=True)
    for step, scores in enumerate(second.scores):
        assert torch.equal(answers(second, inputs)[:, step], scores.topk(2, dim=-1).indices[:, 1])
    halved = ls.generate(model, inputs, [Halved()], **SETTINGS, output_logits=True)
    plain = ls.generate(model, inputs, **SETTINGS, output_logits=True)
    assert torch.equal(halved.logits[0], plain.logits[0] / 2)
    settings = {**SETTINGS, "min_new_tokens": None}
    short = ls.generate(model, inputs, [Short(3), RunnerUp(), Fading()], **settings)
    assert torch.equal(
        answers(short, inputs), answers(ls.generate(model, inputs, [RunnerUp(), Fading()], **settings), inputs)[:, :3]
    )


@pytest.mark.parametrize("method", [RunnerUp(), Halved(), Short(), Notes()], ids=lambda method: method.name)
def test_what_edits_no_rows_has_no_trace_and_no_block(llava, method):
    model, inputs = llava
    sequences = model.generate(**inputs, **SETTINGS)
    with pytest.raises(SettingError, match=f"{method.name} .* edits no attention rows"):
        ls.trace(model, inputs, sequences, methods=[method])
    with pytest.raises(SettingError, match=f"{method.name} has no block form"):
        method(model)


@pytest.mark.parametrize(
    ("methods", "reason"),
    [
        ([RunnerUp(), ls.SGRS(seed=0)], "runner-up and sgrs each decide the next token"),
        ([Halved(), ls.method("dola")], "halved and dola each change the logits"),
        ([Halved(), ls.method("beam")], "cannot feed beam's beams"),
        ([Short(), ls.method("beam")], "short and beam each run the loop"),
        ([Notes(), ls.method("beam")], "another of beam's beams may win"),
        ([Short(), ls.SGRS(seed=0, execution="blockwise")], "execution='blockwise' is not possible.*runs the loop"),
    ],
    ids=lambda value: "+".join(m.name for m in value) if isinstance(value, list) else "",
)
def test_what_does_not_go_together(llava, methods, reason):
    model, inputs = llava
    with pytest.raises(SettingError, match=reason):
        ls.generate(model, inputs, methods, **SETTINGS)


@pytest.mark.parametrize("method", [RunnerUp(), Halved(), Short(), Notes()], ids=lambda method: method.name)
def test_beams_of_transformers_have_no_place_for_them(llava, method):
    model, inputs = llava
    with pytest.raises(SettingError, match=f"{method.name} .* cannot run under beams"):
        ls.generate(model, inputs, [method], **SETTINGS, num_beams=2)


WAYS = {
    "greedy": [],
    "drawn": [ls.method("sample", seed=3)],
    "sgrs step by step": [ls.SGRS(seed=3, alpha=1.0, execution="stepwise")],
    "sgrs in blocks": [ls.SGRS(seed=3, alpha=1.0, execution="blockwise")],
    "contrast": [ls.method("dola", relative_top=0.01)],
    "attention": [Fading()],
    "a loop": [Short(4)],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_token_is_heard_in_order_with_what_it_was_drawn_from(llava, way):
    model, inputs = llava
    notes, settings = Notes(), {**SETTINGS, "do_sample": way != "greedy" and "sgrs" in way}
    out = ls.generate(model, inputs, [*WAYS[way], notes], **settings)
    without = ls.generate(model, inputs, WAYS[way], **settings)
    assert torch.equal(out.sequences, without.sequences)
    assert sorted(notes.heard) == [0, 1]
    for sample, steps in enumerate(out.steps):
        assert [step for step, _, _ in notes.heard[sample]] == list(range(len(steps)))
        assert [record for _, record, _ in notes.heard[sample]] == steps
    if "blocks" in way:  # blocks keep no scores: those of the same choices, step by step
        way = "sgrs step by step"
    scores = ls.generate(model, inputs, WAYS[way], **settings, output_scores=True).scores
    for sample, heard in notes.heard.items():
        for step, _, logits in heard:
            torch.testing.assert_close(logits, scores[step][sample], atol=1e-4, rtol=1e-4)


def test_nothing_is_heard_after_a_sample_has_ended(llava):
    model, inputs = llava
    plain = ls.generate(model, inputs, **SETTINGS)
    end = int(answers(plain, inputs)[0, 2])
    settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": end, "pad_token_id": 0}
    notes = Notes()
    out = ls.generate(model, inputs, [notes], **settings)
    assert [len(notes.heard[sample]) for sample in (0, 1)] == [len(steps) for steps in out.steps]
    assert len(notes.heard[0]) <= 3


def test_who_steers_by_what_it_hears_keeps_blocks_away(llava):
    model, inputs = llava
    with pytest.raises(SettingError, match="none can be drafted ahead"):
        ls.generate(model, inputs, [ls.SGRS(seed=0, execution="blockwise"), Notes(steers=True)], **SETTINGS)
    notes = Notes(steers=True)
    out = ls.generate(model, inputs, [ls.SGRS(seed=0), notes], **SETTINGS)
    assert [len(notes.heard[sample]) for sample in (0, 1)] == [len(steps) for steps in out.steps]


@dataclass(frozen=True)
class Undeclared(Method):
    name: ClassVar[str] = "undeclared"
    roles: ClassVar[Role] = Role.LOGITS

    def bind(self, model, run=None):
        return Parts(selector=Runner(1))


def test_parts_that_were_not_declared_are_refused(llava):
    model, inputs = llava
    with pytest.raises(SettingError, match=r"undeclared declares Role\.LOGITS, but its parts act on Role\.TOKENS"):
        ls.generate(model, inputs, [Undeclared()], **SETTINGS)


def test_registered_by_an_entry_point_they_are_methods_like_the_others(monkeypatch):
    theirs = {
        kind.name: EntryPoint(kind.name, f"{__name__}:{kind.__name__}", registry.GROUP) for kind in (Fading, RunnerUp)
    }
    wrong = {"number": EntryPoint("number", "math:pi", registry.GROUP)}
    entries = {**registry._entries(), **theirs, **wrong}
    monkeypatch.setattr(registry, "_entries", lambda: entries)
    assert {"fading", "runner-up"} <= set(ls.methods())
    assert ls.method("fading", rate=0.25) == Fading(rate=0.25)
    with pytest.raises(SettingError, match="'number' is no method"):
        ls.method("number")
    chosen = system("runner-up:rank=2+fading", seed=1)
    assert chosen.label == "runner-up:rank=2+fading"
    assert chosen.decides
    assert not system("fading", seed=1).decides
