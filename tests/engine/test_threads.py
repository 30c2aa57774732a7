"""Several threads on one model: every job ends as it does alone, and nothing is left behind."""

from __future__ import annotations

import copy
import random
import sys
import threading

import pytest
import torch
from transformers import LogitsProcessor

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.attention import shared_hooks as rooms
from lvlm_saliency.attention.session import session
from zoo import FAMILIES

SETTINGS = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
METHODS = {
    "plain": [],
    "locore": [ls.LocoRE(beta=2.0)],
    "sgrs": [ls.SGRS(seed=1)],
    "dola": [ls.method("dola")],
    "memvr": [ls.method("memvr", gamma=0.1)],
    "vcd": [ls.method("vcd", seed=1)],
}


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.fixture
def hurried():
    """Threads change places a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def written(model, inputs, name):
    out = ls.generate(model, inputs, METHODS[name], **SETTINGS)
    return out.sequences


def traced(model, inputs, _name):
    """A trace, whose prompt pass ends in an exception that walks the hooks."""
    return ls.trace(model, inputs, written(model, inputs, "plain")).rows


def blocked(model, inputs, name):
    """A `with` block of a method that does nothing, so that the other threads do not feel it."""
    with ls.LocoRE(beta=0.0)(model):
        return written(model, inputs, name)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_mixed_jobs_on_one_model_end_as_they_do_alone(family):
    family = FAMILIES[family]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    jobs = [(written, name) for name in METHODS] + [(traced, "plain"), (blocked, "plain"), (blocked, "sgrs")]
    alone = {(work, name): work(model, inputs, name) for work, name in jobs}
    before = hooks_of(model)
    order = random.Random(0).sample(jobs + jobs[-3:], len(jobs) + 3)  # sessions that come and go, twice
    failures = []

    def run(mine):
        for work, name in mine:
            try:
                found = work(model, inputs, name)
                torch.testing.assert_close(found, alone[work, name], atol=1e-5, rtol=0)
            except BaseException as error:
                failures.append((work.__name__, name, repr(error)))

    threads = [threading.Thread(target=run, args=(order[n::6],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert hooks_of(model) == before
    assert not rooms._open
    assert not hf._switches


def test_a_block_opened_in_the_midst_of_a_generation_leaves_it_its_prompt():
    """SGRS counts its output from the prompt's end: a block of another thread must not move that."""
    family = FAMILIES["llama"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    want = ls.generate(model, inputs, METHODS["sgrs"], **SETTINGS)
    opened = []

    class OpensABlock(LogitsProcessor):
        def __call__(self, input_ids, scores):
            if not opened:
                block = ls.LocoRE(beta=0.0)(model)
                thread = threading.Thread(target=block.__enter__)
                thread.start()
                thread.join()
                opened.append(block)
            return scores

    try:
        found = ls.generate(model, inputs, METHODS["sgrs"], logits_processor=[OpensABlock()], **SETTINGS)
    finally:
        opened[0].__exit__(None, None, None)
    assert torch.equal(found.sequences, want.sequences)
    assert [s.score for s in found.steps[0]] == pytest.approx([s.score for s in want.steps[0]], abs=1e-6)


@pytest.mark.usefixtures("hurried")
def test_sessions_come_and_go_while_another_thread_runs_the_model():
    """The model's own calls, without a session, while hooks are put on and taken off beside them."""
    family = FAMILIES["llama"]
    model, _ = family.build()
    ids = family.inputs(n=1)["input_ids"][:, :3]
    want = model(input_ids=ids).logits
    over, failures = threading.Event(), []

    def run():
        try:
            while not over.is_set():
                assert torch.equal(model(input_ids=ids).logits, want)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        with session(model, METHODS["memvr"]):
            pass
    over.set()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_hook_that_was_taken_off_while_another_thread_walked_does_nothing():
    """torch then calls it without keywords: what happens by chance above, by hand."""
    module, calls = torch.nn.Linear(2, 2), []
    before, after = rooms._Before(module), rooms._After(module)
    for hook in (before, after):
        hook.functions = ((None, lambda *args: calls.append(args)),)
    assert before(module, (1,)) is None
    assert after(module, (1,), 2) is None
    assert not calls
    before(module, (1,), {})
    after(module, (1,), {}, 2)
    assert len(calls) == 2


def test_hooks_change_what_goes_in_and_what_comes_out_in_their_order():
    module = torch.nn.Identity()
    with rooms.shared_hooks(module) as hooks:
        hooks.before(module, lambda _m, args, kwargs: ((args[0] + 1,), kwargs))
        hooks.before(module, lambda _m, args, kwargs: ((args[0] * 10,), kwargs))
        second = hooks.after(module, lambda _m, _args, _kwargs, output: output - 3)
        hooks.after(module, lambda *_: None)
        assert module(1) == 17
        assert copy.deepcopy(module)(1) == 1
        second.remove()
        assert module(1) == 20
        with rooms.shared_hooks(module) as inner:
            assert inner is hooks
        assert module(1) == 20
    assert module(1) == 1
    assert not rooms._open


def test_a_hook_is_called_behind_a_call_that_fails():
    class Failing(torch.nn.Module):
        def forward(self):
            raise ValueError("no")

    module, seen = Failing(), []
    with rooms.shared_hooks(module) as hooks:
        hooks.after(module, lambda _m, _args, _kwargs, output: seen.append(output), always=True)
        hooks.after(module, lambda *_: seen.append("never"))
        with pytest.raises(ValueError, match="no"):
            module()
    assert seen == [None]
