"""What is captured, against a plain eager pass over the whole text; batches, padding, pictures, halves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.detection.base import Needs
from lvlm_saliency.detection.capture import depth_of
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.errors import SettingError, UnsupportedModelError
from zoo import FAMILIES

STREAMS = ("gemma3n", "glm5_next")
"""Families that have no single state of a token between their layers."""


def everything(depth):
    """Needs of all kinds at all layers."""
    states = frozenset(range(depth.count + 1))
    lenses = frozenset((index, factor) for index in states for factor in (1.0, 0.1))
    return Needs(
        logits=True, attention=frozenset(depth.attention), heads=True, chain=frozenset(depth.attention), text=states,
        image=states, prompt=states, image_lens=lenses, prompt_lens=lenses, text_lens=True, unembedding=True,
        embeddings=True,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Everything(ls.Detector):
    name = "everything"

    def needs(self, depth):
        return everything(depth)


def written(family, n=1, **settings):
    model, processor = family.build()
    inputs = family.inputs(n=n, **settings)
    tokenizer = getattr(processor, "tokenizer", processor)
    ids = tokenizer("there is a clock on a table and two cats", add_special_tokens=False)["input_ids"]
    tokens = torch.stack([torch.tensor(ids[row : row + 6]) for row in range(n)])
    return model, processor, inputs, torch.cat([inputs["input_ids"], tokens], 1)


def read(family, n=1, **settings):
    model, processor, inputs, sequences = written(family, n, **settings)
    return ls.reading(model, inputs, sequences, [Everything()], processor=processor)


@pytest.mark.parametrize(
    ("name", "images"), [("llava", 1), ("qwen2_5_vl", 1), ("gemma3", 1), ("llama", 1), ("llava", 2), ("qwen2_5_vl", 2)]
)
def test_a_plain_pass_says_the_same(name, images):
    family = FAMILIES[name]
    model, _ = family.fresh() if hasattr(family, "fresh") else family.build()
    model.set_attn_implementation("eager")
    _, processor, inputs, sequences = written(family, images=images)
    found = ls.reading(model, inputs, sequences, [Everything()], processor=processor)[0]
    length, count = inputs["input_ids"].shape[1], sequences.shape[1] - inputs["input_ids"].shape[1]
    more = {k: torch.nn.functional.pad(v, (0, count)) for k, v in inputs.items() if "token_type_ids" in k}
    mask = torch.ones_like(sequences)
    whole = {**inputs, **more, "input_ids": sequences, "attention_mask": mask}
    with torch.no_grad():
        out = model(**whole, output_attentions=True, output_hidden_states=True)
    close = {"rtol": 1e-3, "atol": 2e-5}
    rows = slice(length - 1, None)
    for layer, weights in enumerate(out.attentions):
        assert found.attention[layer].shape == (weights.shape[1], count + 1, length + count)
        np.testing.assert_allclose(found.attention[layer], weights[0, :, rows].numpy(), **close)
        steps = np.arange(count + 1)
        np.testing.assert_allclose(
            found.chain[layer][:, 0], weights[0, :, steps + length - 1, steps + length - 1], **close
        )
        np.testing.assert_allclose(
            found.chain[layer][:, 1], weights[0, :, steps + length - 1, steps + length - 2], **close
        )
    head = model.get_output_embeddings().weight.detach().float()
    for index, hidden in enumerate(out.hidden_states):
        states = hidden[0].float()
        np.testing.assert_allclose(found.text[index], states[rows], rtol=1e-3, atol=2e-4)
        np.testing.assert_allclose(found.image_states[index], states[found.image], rtol=1e-3, atol=2e-4)
        behind = np.arange(found.image.max() + 1 if len(found.image) else length, length)
        np.testing.assert_allclose(found.prompt_states[index], states[behind], rtol=1e-3, atol=2e-4)
        if len(found.image) and "gemma" not in name:
            logits = states[found.image] @ head.T
            lens = found.image_lens[index, 0.1]
            np.testing.assert_allclose(lens.size, (0.1 * logits).logsumexp(-1), rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(lens.logits, (0.1 * logits)[:, lens.ids], rtol=1e-3, atol=1e-4)
            kept = found.image_lens[index, 1.0].kept
            np.testing.assert_allclose(kept, logits.topk(50, -1).values.logsumexp(-1), rtol=1e-3, atol=1e-3)
    log_p = torch.log_softmax(out.logits[0, length - 1 : -1].float(), -1)
    answer = torch.as_tensor(found.answer)
    own = log_p.gather(-1, answer[:, None])[:, 0]
    np.testing.assert_allclose(found.logprob, own, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.entropy, -(log_p.exp() * log_p).sum(-1), rtol=1e-3, atol=1e-4)
    best = log_p.scatter(-1, answer[:, None], -np.inf).amax(-1)
    np.testing.assert_allclose(found.margin, own - best, rtol=1e-3, atol=2e-4)
    large = out.logits[0, rows].float().topk(100, -1).values
    share = torch.softmax(large, -1)
    expected = torch.stack([-(share * share.log()).sum(-1), large[:, 0], share[:, 0]], -1)
    np.testing.assert_allclose(found.surprise, expected, rtol=1e-3, atol=1e-4)
    # The last layer of the text lens is the model's own distribution.
    np.testing.assert_array_equal(found.text_top[:, -1], out.logits[0, rows].argmax(-1))
    np.testing.assert_allclose(found.text_entropy[:-1, -1], found.entropy, rtol=1e-3, atol=1e-4)


def test_every_family_in_a_ragged_batch_as_alone(family):
    if not family.padded:
        pytest.skip("transformers itself gives padded prompts something else")
    model, processor, inputs, sequences = written(family, 2)
    if family.name in STREAMS:
        with pytest.raises(UnsupportedModelError, match="several streams per token"):
            ls.reading(model, inputs, sequences, [Everything()], processor=processor)
        return
    both = ls.reading(model, inputs, sequences, [Everything()], processor=processor)
    tokens = sequences[:, inputs["input_ids"].shape[1] :]
    for sample, batched in enumerate(both):
        pictures = {} if family.text_only else {"images": [family.pictures(2)[sample]]}
        own = processor(
            text=[family.prompts(2)[sample]], return_tensors="pt", padding=True, add_special_tokens=False, **pictures
        )
        row = torch.cat([own["input_ids"], tokens[sample : sample + 1]], 1)
        alone = ls.reading(model, dict(own), row, [Everything()], processor=processor)[0]
        same(batched, alone)


def same(one, other, tolerance=2e-3):
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.image, other.image)
    for name in ("logprob", "entropy", "surprise"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance)
    for name in ("attention", "text", "image_states", "chain"):
        for key, values in getattr(one, name).items():
            np.testing.assert_allclose(values, getattr(other, name)[key], rtol=tolerance, atol=tolerance)


def test_only_the_rows_of_the_mentions_are_kept():
    model, processor, inputs, sequences = written(FAMILIES["llava"])
    mentions = [Mention(2, 4)]
    some = ls.reading(model, inputs, sequences, ["svar", "glsim"], mentions=mentions, processor=processor)[0]
    every = ls.reading(model, inputs, sequences, ["svar", "glsim"], processor=processor)[0]
    assert some.rows.tolist() == [0, 2, 3, 4]
    for name in ("svar", "glsim"):
        for where in ("P", "A"):
            one = ls.detector(name, where=where, subtokens="mean")
            assert one.score(some, mentions[0]) == pytest.approx(one.score(every, mentions[0]), rel=1e-6)
    with pytest.raises(SettingError, match="not captured"):
        ls.detector("svar").score(some, Mention(5, 6))
    with pytest.raises(SettingError, match="naming the detector"):
        ls.detector("cgc").score(ls.reading(model, inputs, sequences, ["nll"])[0], Mention(1, 2))


def test_half_precision_is_near_full():
    family = FAMILIES["llava"]
    model, processor, inputs, sequences = written(family)
    full = ls.reading(model, inputs, sequences, ["svar", "overthinking", "nll"], processor=processor)[0]
    half, _ = family.fresh()
    half = half.to(torch.bfloat16)
    halved = {name: value.to(torch.bfloat16) if value.is_floating_point() else value for name, value in inputs.items()}
    found = ls.reading(half, halved, sequences, ["svar", "overthinking", "nll"], processor=processor)[0]
    for name in ("svar", "nll"):
        risks = [ls.detector(name).score(one, Mention(1, 2)) for one in (found, full)]
        assert np.isfinite(risks).all()
        assert risks[0] == pytest.approx(risks[1], rel=0.1)
    assert np.isfinite(found.text_entropy).all()


def test_nothing_is_left_on_the_model():
    model, processor, inputs, sequences = written(FAMILIES["llava"])
    with torch.no_grad():
        before = model(**inputs).logits
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    ls.reading(model, inputs, sequences, [Everything()], processor=processor)
    assert hooks == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    with torch.no_grad():
        assert torch.equal(before, model(**inputs).logits)


def test_depth():
    model, _ = FAMILIES["llava"].build()
    depth = depth_of(model)
    assert depth.attention == tuple(range(depth.count))
