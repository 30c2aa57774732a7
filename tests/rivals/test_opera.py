"""OPERA and DOPRA on real classes: neutral settings, what is read, what is counted, and settings out of range."""

from __future__ import annotations

import math

import pytest
import torch

import lvlm_saliency as ls
from engine.reference import alone, eager, extended
from lvlm_saliency import hf
from lvlm_saliency.errors import SettingError, UnsupportedModelError
from lvlm_saliency.interventions.beam import Beam
from lvlm_saliency.interventions.dopra import DOPRA
from lvlm_saliency.interventions.opera import OPERA, retrospection
from lvlm_saliency.model.regions import placeholder_ids
from zoo import FAMILIES

from .spy import Spy, texts
from .test_beam import ends_of, for_beams

EVERY = 1000  # more candidates than any of these vocabularies has


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


def renormalised_top_five(refused):
    """A logits processor. As in OPERA's released code, the candidates are chosen first; then those that the model may
    not write are taken away."""

    def processor(_ids, scores):
        top = scores.topk(5, dim=-1)
        found = torch.full_like(scores, -math.inf).scatter(1, top.indices, torch.log_softmax(top.values, dim=-1))
        return found.index_fill(1, torch.tensor(refused, dtype=torch.long), -math.inf)

    return processor


@pytest.mark.each_kind
def test_unweighted_candidates_are_a_beam_search_over_each_beams_top_five(family):
    model, _ = family.build()
    inputs, more = family.inputs(n=2), {"max_new_tokens": 6, "eos_token_id": [family.eos_token_id]}
    kept = {"return_dict_in_generate": True, "output_scores": True, "suppress_tokens": []}
    kept["logits_processor"] = [renormalised_top_five(model.generation_config.suppress_tokens or [])]
    want = model.generate(**for_beams(model, inputs), **more, **kept, num_beams=5, do_sample=False)
    got = ls.generate(model, inputs, [OPERA(alpha=0, threshold=math.inf)], **more)
    assert torch.equal(got.sequences, want.sequences)
    torch.testing.assert_close(got.sequences_scores, want.sequences_scores, atol=1e-4, rtol=1e-4)


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
    image = torch.isin(inputs["input_ids"][0], torch.tensor(placeholder_ids(model), dtype=torch.long))
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
