"""`SaliencyTrace` as a container: what its scores mean, and that it survives a round trip through its file."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.model.regions import Regions
from zoo import FAMILIES


def made(prompt, output, batch, layers, seed, image=True):
    """A trace of random rows with the shape and zeros of a real one."""
    random = torch.Generator().manual_seed(seed)
    total = prompt + output
    rows = torch.rand(batch, layers, output, total - 1, generator=random)
    queries = torch.arange(prompt - 1, total - 1)[:, None]
    rows = rows * (torch.arange(total - 1) <= queries)
    owner = torch.randint(0 if image else 2, 3, (batch, prompt), generator=random).sort(dim=1).values
    owner = torch.cat([owner, torch.full((batch, output), 3)], 1)
    return ls.SaliencyTrace(
        rows=rows,
        attention=rows.flip(1),
        layers=list(range(layers)),
        regions=Regions(*(owner == i for i in range(4))),
        sequences=torch.randint(0, 9, (batch, total), generator=random),
        prompt_length=prompt,
        valid=torch.ones(batch, output, dtype=torch.bool),
        logprobs=-rows.sum((1, 3)),
        entropy=rows.sum((1, 3)),
        settings={"normalise": "row"},
    )


@given(st.integers(2, 6), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 10**6))
@settings(deadline=None, max_examples=50)
def test_scores_are_means_over_what_stands_before_the_token(prompt, output, batch, layers, seed):
    trace = made(prompt, output, batch, layers, seed)
    for region in ("system", "image", "prompt", "output", "prompt+output"):
        scores = trace.scores(region)
        for b in range(batch):
            for t in range(output):
                member = sum(getattr(trace.regions, part)[b, : prompt + t] for part in region.split("+")).bool()
                want = trace.rows[b, :, t, : prompt + t][:, member].mean(1).mean() if member.any() else math.nan
                assert scores[b, t].item() == pytest.approx(float(want), abs=1e-5, nan_ok=True)
    previous = trace.scores("previous")
    assert previous[:, 0].isnan().all()
    for t in range(1, output):
        torch.testing.assert_close(previous[:, t], trace.rows[:, :, t, prompt + t - 1].mean(1))


def test_layers_choose_and_attention_is_its_own():
    trace = made(4, 3, 2, 3, 0)
    torch.testing.assert_close(trace.scores("output", [2]), trace.attention_scores("output", [0]), equal_nan=True)
    both = (trace.scores("output", [0]) + trace.scores("output", [2])) / 2
    torch.testing.assert_close(trace.scores("output", [0, 2]), both, equal_nan=True)
    with pytest.raises(SettingError, match="layers \\[5\\] were not traced"):
        trace.scores("output", [5])
    with pytest.raises(SettingError, match="did you mean 'image'"):
        trace.scores("imgae")


def test_an_empty_region_has_no_score():
    trace = made(4, 3, 1, 2, 0, image=False)
    assert trace.scores("image").isnan().all()
    assert trace.scores("output")[:, 0].isnan().all(), "the first generated token has no output before it"


@pytest.mark.parametrize("name", ["llava", "gemma2"])
def test_round_trip_through_a_file(name, tmp_path):
    family = FAMILIES[name]
    model, processor = family.build()
    inputs = family.inputs(n=2)
    sequences = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    trace = ls.trace(model, inputs, sequences, methods=[ls.LocoRE()])
    trace.save(tmp_path / "t.safetensors")
    again = ls.SaliencyTrace.load(tmp_path / "t.safetensors")
    for field in ("rows", "attention", "sequences", "valid"):
        assert torch.equal(getattr(trace, field), getattr(again, field))
    torch.testing.assert_close(trace.logprobs, again.logprobs, equal_nan=True)
    assert torch.equal(trace.regions.image, again.regions.image)
    assert (again.layers, again.prompt_length, again.settings) == (trace.layers, trace.prompt_length, trace.settings)
    assert torch.equal(again.token_ids, sequences[:, inputs["input_ids"].shape[1] :])
    json.dumps(again.to_dict(1), allow_nan=False)
    tokenizer = getattr(processor, "tokenizer", processor)
    for pieces, ids, keep in zip(trace.tokens(processor), trace.token_ids, trace.valid, strict=True):
        assert len(pieces) == int(keep.sum())
        assert "".join(pieces) == tokenizer.decode(ids[keep]).rstrip("\ufffd")


def test_what_is_not_a_trace_is_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(InputError, match="does not exist"):
        ls.SaliencyTrace.load(tmp_path / "none.safetensors")
    (tmp_path / "broken").write_bytes(b"\x10\0\0\0\0\0\0\0garbage")
    with pytest.raises(InputError, match="cannot be read as a trace"):
        ls.SaliencyTrace.load(tmp_path / "broken")
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(InputError, match="not a saved trace"):
        ls.SaliencyTrace.load(tmp_path / "other")


def test_logprobs_and_entropy_are_the_models_own():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    out = model.generate(**inputs, max_new_tokens=5, do_sample=False, return_dict_in_generate=True, output_logits=True)
    trace = ls.trace(model, inputs, out)
    log_p = torch.stack([torch.log_softmax(x[0], -1) for x in out.logits])
    torch.testing.assert_close(trace.logprobs[0], log_p.gather(1, trace.token_ids[0][:, None])[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(trace.entropy[0], -(log_p.exp() * log_p).sum(1), atol=1e-4, rtol=0)
