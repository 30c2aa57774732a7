"""OPERA's way back on real classes: to a search that never went further, in batches, and what it costs."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from engine.reference import alone
from lvlm_saliency import hf
from lvlm_saliency.hf import caches
from lvlm_saliency.interventions.opera import OPERA, retrospection
from lvlm_saliency.interventions.opera.over_trust import LOWEST
from zoo import FAMILIES

from .magnet import Magnet
from .spy import Spy, texts
from .test_beam import as_alone

BACK = {"n_beams": 2, "candidates": 2, "threshold": 2, "sigma": 1.5}
"""So small a sigma lets only the magnet's column grow: every later step votes for it."""
LONG = {"max_new_tokens": 18, "min_new_tokens": 18}


def going_back(monkeypatch, family, method, samples=1, **more):
    model, _ = family.build()
    spy, points = Spy(monkeypatch), []
    spy.watch_method(
        retrospection.Retrospection, "_back", lambda this, args, found: points.append((args[1], *found, this.ledger))
    )
    magnet = Magnet(layer=method.tapped_layer(model))
    out = ls.generate(model, family.inputs(n=samples), [magnet, method], **LONG, **more)
    return out, points, spy


@pytest.mark.parametrize("name", ["llava", "gemma3", "qwen3_5", pytest.param("qwen2_vl", marks=pytest.mark.slow)])
def test_it_goes_back_to_a_search_that_never_went_further(name, monkeypatch):
    family = FAMILIES[name]
    out, points, spy = going_back(monkeypatch, family, OPERA(**BACK))
    model, _ = family.build()
    assert [position for position, *_ in points] == [12, 12, 11, 11]  # twice behind the magnet, twice on it
    start = family.inputs(n=1)["input_ids"].shape[1]
    for position, point, branch, logits, _ in points:
        assert branch.ids.shape == (2, start + position)  # N + s + 1 where there was room behind the summary token s
        assert point.beams.length == position == branch.cache.get_seq_length() - start
        inputs = alone(family, 1, 0)
        with Magnet(layer=OPERA().tapped_layer(model))(model), torch.no_grad():
            for row, answer in enumerate(point.beams.tokens):
                fresh = fresh_logits(model, inputs, answer)
                torch.testing.assert_close(logits[row], fresh, atol=5e-3, rtol=5e-3)
    assert out.cost.rollbacks == 4
    assert [(at, step.rollbacks) for at, step in enumerate(out.steps[0]) if step.rollbacks] == [(11, 2), (12, 2)]
    assert len(spy.full) == 4


def fresh_logits(model, inputs, answer):
    """Logits behind prompt and answer: the prompt over an empty cache, then token by token."""
    cache = caches.new_cache(model)

    def loop(model, input_ids, logits_processor, stopping_criteria, generation_config, **kwargs):
        outputs = hf.prefill(model, input_ids, generation_config, kwargs)
        for token in answer:
            kwargs = hf.advanced(model, outputs, kwargs)
            input_ids = torch.cat([input_ids, token.view(1, 1)], dim=-1)
            outputs = model(**hf.next_inputs(model, input_ids, 1, kwargs), return_dict=True)
        return outputs.logits[0, -1].float()

    return hf.prepared(model, {**inputs, hf.CACHE: cache}, loop, max_new_tokens=2, do_sample=False)


def test_what_was_chosen_there_is_never_chosen_there_again(monkeypatch):
    chosen = {}

    def note(_this, _args, found):
        position, (point, *_) = _args[1], found
        pairs = list(zip(*(part.tolist() for part in point.choices), strict=True))
        assert not set(pairs) & set(chosen.get(position, []))
        chosen.setdefault(position, []).extend(pairs)

    Spy(monkeypatch).watch_method(retrospection.Retrospection, "_back", note)
    family = FAMILIES["llava"]
    model, _ = family.build()
    out = ls.generate(model, family.inputs(n=1), [Magnet(), OPERA(**BACK, max_rollbacks=4)], **LONG)
    assert {position: len(pairs) for position, pairs in chosen.items()} == {12: 8, 11: 8}
    tokens = {token for pair in chosen[11] for token in pair[1:]}
    assert set(out.steps[0][11].rejected) == tokens
    assert out.steps[0][11].rollbacks == 4


def test_going_back_offers_the_whole_vocabulary_and_the_paper_its_candidates(monkeypatch):
    family = FAMILIES["llava"]
    _, points, spy = going_back(monkeypatch, family, OPERA(**BACK))
    for number, found in enumerate(spy.full):
        banned = 2 * (number % 2 + 1)  # the pairs taken back at this position so far
        assert int((found <= LOWEST).sum()) == banned
    monkeypatch.undo()
    _, points, spy = going_back(monkeypatch, family, OPERA(**BACK, mode="paper", max_rollbacks=2, alpha=0.01))
    assert [position for position, *_ in points] == [12, 12]  # never further back than the last time
    assert not spy.full


def test_no_more_than_beta_times_to_a_position():
    family = FAMILIES["llava"]
    model, _ = family.build()
    for limit in (0, 1, 3):
        method = OPERA(**BACK, max_rollbacks=limit)
        out = ls.generate(model, family.inputs(n=1), [Magnet(), method], **LONG)
        assert max(step.rollbacks for step in out.steps[0]) == limit
        assert out.cost.rollbacks == 2 * limit
    assert OPERA(candidates=3).rollback_limit == 3
    assert OPERA(candidates=3, mode="paper").rollback_limit == 5


STEEP = ("gemma3n", "gemma4", "gemma4_large", "gemma4_unified")
"""Whose scores reach so far that the magnet must pull harder, and from its own row on."""
CHOOSING = ("mistral_large4", "glm5_next")
"""Whose indexer chooses the keys that a token sees: here it chooses all, so that none misses the magnet."""


def with_magnet(family, method):
    """The family's model, and a magnet for it."""
    model, _ = family.fresh() if family.name in CHOOSING else family.build()
    for module in model.modules():
        if family.name in CHOOSING and hasattr(module, "index_topk"):
            module.index_topk = 4096
    layer = method.tapped_layer(model)
    return model, Magnet(layer=layer, pull=400.0, own=True) if family.name in STEEP else Magnet(layer=layer)


def check_batch_that_goes_back(family, mode):
    method = OPERA(**BACK, alpha=0.1, mode=mode, max_rollbacks=1)
    model, magnet = with_magnet(family, method)
    more = {"max_new_tokens": 16, "min_new_tokens": 16}
    inputs = family.inputs(n=2)
    batch = ls.generate(model, inputs, [magnet, method], **more)
    for sample in as_alone(family, inputs):
        single = ls.generate(model, alone(family, 2, sample), [magnet, method], **more)
        assert texts(batch)[sample] == texts(single)[0]
        assert [s.rollbacks for s in batch.steps[sample]] == [s.rollbacks for s in single.steps[0]]
    assert batch.cost.rollbacks > 0


@pytest.mark.each_kind
def test_a_batch_gives_what_single_calls_give_also_where_it_goes_back(family):
    check_batch_that_goes_back(family, "official_code")


@pytest.mark.parametrize("name", ["llava", "qwen3_5"])
def test_so_it_does_in_the_papers_way(name):
    check_batch_that_goes_back(FAMILIES[name], "paper")


def test_going_back_costs_a_replay_and_a_step(monkeypatch):
    family = FAMILIES["mistral"]
    model, _ = family.build()
    looks = []
    Spy(monkeypatch).watch_method(retrospection.Retrospection, "_look", lambda _this, _args, look: looks.append(look))
    with Magnet()(model):  # an editor of the surrounding block: the tokens are replayed in one pass
        out = ls.generate(model, family.inputs(n=1), [OPERA(**BACK)], **LONG)
    assert out.cost.rollbacks == 4
    assert out.cost.forwards == 1 + len(looks) + 2 * 4
