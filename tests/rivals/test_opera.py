"""OPERA and DOPRA on real classes: neutral settings, what is read, going back, batches, and what it costs."""

from __future__ import annotations

import math

import pytest
import torch

import lvlm_saliency as ls
from engine.reference import alone, eager, extended
from lvlm_saliency import hf
from lvlm_saliency.errors import SettingError, UnsupportedModelError
from lvlm_saliency.hf import caches
from lvlm_saliency.interventions.beam import Beam
from lvlm_saliency.interventions.dopra import DOPRA
from lvlm_saliency.interventions.opera import OPERA, retrospection
from lvlm_saliency.interventions.opera.over_trust import LOWEST
from lvlm_saliency.model.regions import placeholder_ids
from zoo import FAMILIES

from .magnet import Magnet
from .test_beam import ends_of

EVERY = 1000  # more candidates than any of these vocabularies has


def texts(out):
    return [[step.token_id for step in steps] for steps in out.steps]


@pytest.mark.each_kind
def test_without_weight_and_threshold_it_is_beam_search(family):
    model, _ = family.build()
    inputs, more = family.inputs(n=2), {"max_new_tokens": 8, "eos_token_id": ends_of(family)}
    want = ls.generate(model, inputs, [Beam()], **more)
    got = ls.generate(model, inputs, [OPERA(alpha=0, threshold=math.inf, candidates=EVERY)], **more)
    assert torch.equal(got.sequences, want.sequences)
    assert torch.equal(got.sequences_scores, want.sequences_scores)


@pytest.mark.parametrize("name", ["llava", "mistral"])
def test_so_it_is_when_every_token_is_looked_at_in_earnest(name):
    family = FAMILIES[name]
    model, _ = family.build()
    inputs, more = family.inputs(n=2), {"max_new_tokens": 4, "eos_token_id": ends_of(family, 3, 60)}
    want = ls.generate(model, inputs, [Beam(n_beams=2)], **more)
    got = ls.generate(model, inputs, [OPERA(n_beams=2, alpha=0, threshold=10**9, candidates=EVERY)], **more)
    assert texts(got) == texts(want)
    torch.testing.assert_close(got.sequences_scores, want.sequences_scores, atol=1e-4, rtol=1e-4)


def renormalised_top_five(_ids, scores):
    top = scores.topk(5, dim=-1)
    return torch.full_like(scores, -math.inf).scatter(1, top.indices, torch.log_softmax(top.values, dim=-1))


@pytest.mark.each_kind
def test_unweighted_candidates_are_a_beam_search_over_each_beams_top_five(family):
    model, _ = family.build()
    inputs, more = family.inputs(n=2), {"max_new_tokens": 6, "eos_token_id": [family.eos_token_id]}
    kept = {"return_dict_in_generate": True, "output_scores": True, "logits_processor": [renormalised_top_five]}
    want = model.generate(**inputs, **more, **kept, num_beams=5, do_sample=False)
    got = ls.generate(model, inputs, [OPERA(alpha=0, threshold=math.inf)], **more)
    assert torch.equal(got.sequences, want.sequences)
    torch.testing.assert_close(got.sequences_scores, want.sequences_scores, atol=1e-4, rtol=1e-4)


class Spy:
    """Keeps what the search reads and decides."""

    def __init__(self, monkeypatch):
        self.shares, self.fed, self.full, self.replays = [], [], [], []
        self.monkeypatch = monkeypatch
        self.watch("shares", lambda args, found: self.shares.append(found))
        self.watch("full_log_probs", lambda args, found: self.full.append(found))

    def watch(self, name, note):
        real = getattr(retrospection, name)

        def watched(*args):
            found = real(*args)
            note(args, found)
            return found

        self.monkeypatch.setattr(retrospection, name, watched)

    def watch_method(self, owner, name, note):
        real = getattr(owner, name)

        def watched(this, *args):
            found = real(this, *args)
            note(this, args, found)
            return found

        self.monkeypatch.setattr(owner, name, watched)


def last_row(model, inputs, answer, layer):
    """The largest head of the newest row, brought to sum one, from transformers' own eager attention."""
    sequence = torch.cat([inputs["input_ids"], torch.tensor([answer])], dim=-1)
    with torch.no_grad(), eager(model):
        out = model(
            input_ids=sequence,
            attention_mask=torch.ones_like(sequence),
            output_attentions=True,
            use_cache=False,
            **extended(inputs, len(answer)),
        )
    usable = hf.attention_layers(model)
    maps = [weights for weights in out.attentions if weights is not None]
    row = maps[usable.index(layer)][0, :, -1].max(dim=0).values.double()
    return row / row.sum()


@pytest.mark.each_kind
@pytest.mark.parametrize("method", [OPERA(n_beams=2, candidates=2), DOPRA(n_beams=2, candidates=2)])
def test_the_rows_are_those_of_transformers_eager_attention(family, method, monkeypatch):
    model, _ = family.build()
    inputs = alone(family, 2, 1)
    spy, looks = Spy(monkeypatch), []
    spy.watch_method(retrospection.Retrospection, "_look", lambda _this, _args, look: looks.append(look))
    ls.generate(model, inputs, [method], max_new_tokens=4, min_new_tokens=4)
    layer = method.tapped_layer(model)
    start = inputs["input_ids"].shape[1]
    image = torch.isin(inputs["input_ids"][0], torch.tensor([getattr(model.config, "image_token_id", -1)]))
    compared = 0
    for look, (answer, picture) in zip(looks, spy.shares, strict=True):
        for row, ids in enumerate(look.branch.ids[:, start:].tolist()):
            if set(ids) & set(placeholder_ids(model)):
                continue  # a placeholder without a picture behind it: transformers will not read such a text whole
            compared += 1
            want = last_row(model, inputs, ids[: look.ids.shape[-1] and answer.shape[1]], layer)
            torch.testing.assert_close(answer[row], want[start:], atol=2e-4, rtol=2e-3)
            assert float(picture[row]) == pytest.approx(float(want[:start][image].sum()), abs=2e-4)
    assert compared >= 10


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


def check_batch_that_goes_back(family, mode):
    model, _ = family.build()
    method = OPERA(**BACK, alpha=0.1, mode=mode, max_rollbacks=1)
    magnet = Magnet(layer=method.tapped_layer(model))
    more = {"max_new_tokens": 16, "min_new_tokens": 16}
    batch = ls.generate(model, family.inputs(n=2), [magnet, method], **more)
    for sample in range(2):
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


@pytest.mark.each_kind
def test_dopra_at_the_last_layer_is_opera_bit_for_bit(family):
    model, _ = family.build()
    inputs, more = family.inputs(n=2), {"max_new_tokens": 14, "output_scores": True, "output_logits": True}
    last = hf.attention_layers(model)[-1]
    knobs = {"n_beams": 2, "candidates": 3, "sigma": 90.0, "threshold": 2}
    a = ls.generate(model, inputs, [OPERA(**knobs)], **more)
    b = ls.generate(model, inputs, [DOPRA(layer=last, **knobs)], **more)
    assert torch.equal(a.sequences, b.sequences)
    assert all(torch.equal(x, y) for x, y in zip(a.scores + a.logits, b.scores + b.logits, strict=True))
    other = ls.generate(model, inputs, [DOPRA(layer=hf.attention_layers(model)[0], **knobs)], **more)
    assert not all(torch.equal(x, y) for x, y in zip(a.scores, other.scores, strict=False))


def test_dopra_reads_the_twelfth_of_thirty_two_layers_or_its_like():
    model, _ = FAMILIES["llava"].build()
    assert DOPRA().tapped_layer(model) == 0  # of three
    assert DOPRA(layer=2).tapped_layer(model) == 2
    hybrid, _ = FAMILIES["qwen3_5"].build()
    assert DOPRA().tapped_layer(hybrid) == 1  # of four; layers 1 and 3 have attention
    with pytest.raises((SettingError, UnsupportedModelError)):
        ls.generate(model, FAMILIES["llava"].inputs(n=1), [DOPRA(layer=7)], max_new_tokens=3)


def test_the_passes_and_rows_are_those_that_are_declared():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    method = OPERA(n_beams=3, candidates=4)
    fed = []
    handle = model.get_decoder().register_forward_pre_hook(
        lambda _m, _a, kwargs: fed.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    out = ls.generate(model, inputs, [method], max_new_tokens=6, min_new_tokens=6)
    handle.remove()
    rows = method.rows_per_token
    assert rows == 12
    assert fed == [tuple(inputs["input_ids"].shape), *2 * [(4, 1), *[(rows, 1)] * 5]]
    assert out.cost.forwards == len(fed)
    assert (out.cost.drafted, out.cost.kept) == (2 * (4 + 5 * rows), 12)


def test_going_back_costs_a_replay_and_a_step(monkeypatch):
    family = FAMILIES["mistral"]
    model, _ = family.build()
    looks = []
    Spy(monkeypatch).watch_method(retrospection.Retrospection, "_look", lambda _this, _args, look: looks.append(look))
    with Magnet()(model):  # an editor of the surrounding block: the tokens are replayed in one pass
        out = ls.generate(model, family.inputs(n=1), [OPERA(**BACK)], **LONG)
    assert out.cost.rollbacks == 4
    assert out.cost.forwards == 1 + len(looks) + 2 * 4


def test_samples_and_steps_stand_side_by_side_in_the_kept_scores():
    family = FAMILIES["llava"]
    model, _ = family.build()
    more = {"max_new_tokens": 4, "min_new_tokens": 4, "output_scores": True, "output_logits": True}
    out = ls.generate(model, family.inputs(n=2), [OPERA(n_beams=2)], **more)
    vocabulary = model.config.get_text_config().vocab_size
    assert [tuple(x.shape) for x in out.scores] == [(2, vocabulary), *[(4, vocabulary)] * 3]
    assert [tuple(x.shape) for x in out.logits] == [(2, vocabulary), *[(4, vocabulary)] * 3]


@pytest.mark.parametrize(
    "knobs",
    [{"alpha": -1}, {"sigma": 0}, {"threshold": 0}, {"candidates": 0}, {"mode": "code"}, {"max_rollbacks": 1.5}],
)
def test_knobs_out_of_range_are_refused(knobs):
    for kind in (OPERA, DOPRA):
        with pytest.raises(SettingError):
            kind(**knobs)


def test_the_names_are_registered():
    assert {"beam", "opera", "dopra"} <= set(ls.methods())
    assert ls.method("opera") == OPERA()
    assert "re-implementation" in DOPRA.__doc__.lower()
