"""Readings against lvlm_saliency's own trace: regions, scores and risk features by the same definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lvlm_saliency_vllm import grounding, readings
from lvlm_saliency_vllm.grounding import GroundingError, TokenGrounding, feature_names

IMAGE = 9


def random_text(seed: int = 0, system: int = 3, image: int = 6, rest: int = 4, count: int = 7, layers: int = 2):
    """A prompt with a picture in it, and random weights of the rows that predict `count` tokens."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.tensor([1] * system + [IMAGE] * image + [2] * rest)
    n0 = len(ids)
    attention = torch.rand(layers, count, n0 + count - 1, generator=random)
    attention *= torch.ones(count, n0 + count - 1).tril(n0 - 1)
    attention /= attention.sum(-1, keepdim=True)
    odds = -torch.rand(2, count, generator=random, dtype=torch.float64)
    return ids, attention, odds[0], -odds[1]


def read(ids, attention, logprobs, entropy, placeholders=(IMAGE,), layers=(1, 4)) -> TokenGrounding:
    """The same, by way of a worker's store and the wire."""
    owner, n0, store = readings.owners(ids, placeholders), len(ids), readings.Store()
    store.begin("a", owner)
    for t in range(attention.shape[1]):
        pending = readings.Pending("a", t, owner, dict(zip(layers, attention[:, t, : n0 + t], strict=True)))
        readings.read_rows([pending])
        store.add(pending, entropy[t])
    return TokenGrounding.of(tokens(attention.shape[1]), logprobs.tolist(), store.take("a"))


def tokens(count: int) -> list[int]:
    """The tokens of a text, some of them more than once."""
    return [t % 5 for t in range(count)]


def traced(ids, attention, logprobs, entropy, layers=(1, 4)):
    """The same, as a trace."""
    pytest.importorskip("lvlm_saliency")
    from lvlm_saliency.model.regions import Regions
    from lvlm_saliency.tracing.result import SaliencyTrace

    n0, count = len(ids), attention.shape[1]
    image = torch.cat([ids == IMAGE, torch.zeros(count, dtype=torch.bool)])
    given, place = torch.arange(n0 + count) < n0, torch.arange(n0 + count)
    first = int(image.int().argmax()) if image.any() else 0
    system = place < first
    regions = Regions(*(mask[None] for mask in (system, image, given & ~image & ~system, ~given)))
    return SaliencyTrace(
        rows=attention[None].clone(),
        attention=attention[None],
        layers=list(layers),
        regions=regions,
        sequences=torch.cat([ids, torch.tensor(tokens(count))])[None],
        prompt_length=n0,
        valid=torch.ones(1, count, dtype=torch.bool),
        logprobs=logprobs[None].float(),
        entropy=entropy[None].float(),
    )


TEXTS = {"with a picture": {}, "picture first": {"system": 0}, "text alone": {"image": 0}, "one patch": {"image": 1}}


@pytest.mark.parametrize("shape", TEXTS.values(), ids=TEXTS)
def test_scores_are_those_of_a_trace(shape):
    text = random_text(**shape)
    found, trace = read(*text), traced(*text)
    for region in ("output", "previous", "image", "prompt", "system"):
        for layers in (None, [4]):
            want = trace.attention_scores(region, layers)[0].numpy()
            np.testing.assert_allclose(found.attention_scores(region, layers), want, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(sum(found.attention(name) for name in readings.REGIONS), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", TEXTS.values(), ids=TEXTS)
def test_features_are_those_that_a_risk_is_fitted_on(shape):
    text = random_text(**shape)
    found, trace = read(*text), traced(*text)
    from lvlm_saliency.risk import signals

    if not hasattr(signals, "CAUSAL"):
        pytest.skip("this lvlm_saliency has no causal features")
    assert set(grounding.GROUPS) == set(signals.CAUSAL)
    groups = signals.of_trace(trace, groups=signals.CAUSAL)
    for group in grounding.GROUPS:
        got = found.features([group])
        assert feature_names(group, (1, 4)) == signals.names_of(group, [1, 4])
        np.testing.assert_allclose(got, groups[group][0], rtol=2e-5, atol=1e-5, err_msg=group)


def test_what_cannot_be_known_in_time_is_refused():
    found = read(*random_text())
    for group in ("words after", "saliency", "self-check"):
        with pytest.raises(GroundingError, match="no group of features that forward passes know"):
            found.features([group])
    with pytest.raises(GroundingError, match=r"layers \[3\] were not read"):
        found.attention("image", [3])


def test_features_of_a_token_do_not_change_with_the_text_behind_it():
    ids, attention, logprobs, entropy = random_text(count=9)
    whole = read(ids, attention, logprobs, entropy)
    for count in range(1, 9):
        part = read(ids, attention[:, :count, : len(ids) + count - 1], logprobs[:count], entropy[:count])
        chosen, fed = part.features(grounding.CHOSEN), part.features(grounding.FED)
        np.testing.assert_array_equal(chosen, whole.features(grounding.CHOSEN)[:count])
        np.testing.assert_array_equal(fed[:-1], whole.features(grounding.FED)[: count - 1])
        assert np.isnan(fed[-1]).all()


def test_a_store_tells_what_went_wrong():
    ids, attention, _, entropy = random_text()
    owner, store = readings.owners(ids, [IMAGE]), readings.Store(kept=2)
    assert "nothing is kept" in store.take("a")["fault"]
    store.begin("a", owner)
    store.begin("a", owner)
    assert "two requests were named 'a'" in store.take("a")["fault"]
    store.begin("b", owner)
    row = {1: readings.read_row(attention[0, 3], owner, len(ids))}
    store.add(readings.Pending("b", 3, owner, layers=row), entropy[3])
    assert "rows of token 0 are missing" in store.read("b")["fault"]
    for name in "cde":
        store.begin(name, owner)
    assert list(store.texts) == ["d", "e"]  # the oldest were dropped
    store.begin("f", owner)
    store.add(readings.Pending("f", 0, owner, layers=row), entropy[0])
    store.add(readings.Pending("f", 0, owner, layers=row), entropy[1])  # written again, after its keys were lost
    assert store.read("f")["entropy"] == [entropy[1].item()]
    with pytest.raises(GroundingError, match="2 tokens, 1 rows"):
        TokenGrounding.of([1, 2], [0.0, 0.0], store.take("f"))
    assert "f" not in store.texts


def test_ranks_that_have_some_of_the_heads_each_read_what_one_reads():
    random = torch.Generator().manual_seed(3)
    owner = readings.owners(torch.tensor([1, IMAGE, IMAGE, 2]), [IMAGE])
    lengths = {"a": 4, "b": 7, "c": 6}  # "a": its first token
    heads = {key: torch.rand(2, 2, length, generator=random) for key, length in lengths.items()}  # ranks, layers, keys

    def rows(of) -> list[readings.Pending]:
        return [readings.Pending(key, 0, owner, {1: of(w)[0], 4: of(w)[1]}) for key, w in heads.items()]

    alone = rows(lambda w: w.mean(0))
    readings.read_rows(alone)
    told = []
    readings.read_rows(rows(lambda w: w[0]), lambda part: told.append(part) or part)
    shared = rows(lambda w: w[1])
    readings.read_rows(shared, lambda part: (part + told[0]) / 2)
    assert len(told[0]) % readings.EVENLY == 0
    for one, two in zip(alone, shared, strict=True):
        assert list(two.layers) == [1, 4]
        for layer in (1, 4):
            torch.testing.assert_close(one.layers[layer], two.layers[layer], equal_nan=True)


def test_entropy():
    logits = torch.tensor([[0.0, 0.0, float("-inf")], [5.0, 1.0, 2.0]])
    want = torch.distributions.Categorical(logits=logits[1]).entropy()
    torch.testing.assert_close(readings.entropy_of(logits), torch.stack([torch.tensor(2.0).log(), want]))
