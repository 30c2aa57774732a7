"""Questions over a shared prefix: the margins of a whole prompt, the text's cache untouched, for every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.attention.session import session
from lvlm_saliency.guard import questions
from lvlm_saliency.guard.features import Reader
from lvlm_saliency.guard.questions import Asker
from lvlm_saliency.guard.setup import SHIPPED
from lvlm_saliency.model.inputs import question_inputs
from lvlm_saliency.risk.asked import question
from lvlm_saliency.risk.model import RiskModel
from lvlm_saliency.risk.signals import CAUSAL, names_of, of_trace
from lvlm_saliency.scenes import draw_scene, generate_scenes

WANTED = [(0, "dog"), (1, "umbrella"), (2, "cat"), (0, "boat"), (0, "orange")]


def tensors(cache):
    """Copies of all that a cache holds: keys and values, and the states of hybrids."""
    held = [value for layer in cache.layers for value in vars(layer).values()]
    for some in [value for value in held if isinstance(value, (dict, list))]:
        held += some.values() if isinstance(some, dict) else some
    return [value.clone() for value in held if isinstance(value, torch.Tensor)]


def every_layer_keeps_a_column_per_token(model):
    """Windows lose columns, recurrent layers have none, and indexers keep more."""
    kinds = getattr(hf.text_config(model), "layer_types", None) or ["full_attention"]
    return set(kinds) == {"full_attention"}


@pytest.mark.each_kind
def test_margins_over_a_shared_prefix(family):
    if family.text_only:
        pytest.skip("a question is about a picture")
    model, processor = family.build()
    inputs = family.inputs(n=3)
    wanted = [(sample, question(name)) for sample, name in WANTED]
    found = {}

    def loop(model, input_ids, logits_processor, stopping_criteria, generation_config, **kwargs):
        with torch.no_grad(), session(model) as state:
            state.prompt = Prompt.read(model, input_ids, kwargs.get("attention_mask"), input_ids.shape[1])
            kwargs = hf.advanced(model, hf.prefill(model, input_ids, generation_config, kwargs), kwargs)
            cache = hf.cache_of(kwargs)
            before = tensors(cache)

            def where():
                return cache, {sample: (sample, 0) for sample in range(len(input_ids))}

            asker = Asker(model, processor, state, input_ids, kwargs, dict(inputs), where, False)
            found["whole"] = asker._whole(wanted)
            found["own"] = asker._own(wanted)
            if asker.shared:
                found["shared"] = asker._shared(wanted)
                found["one by one"] = [asker._shared([one])[0] for one in wanted]
            found["margins"] = asker.margins(wanted)
            assert all(torch.equal(a, b) for a, b in zip(before, tensors(cache), strict=True))
            found["prompts"] = asker.prompts([asker.wording.tail(question("dog"))] * 3)
        return input_ids

    hf.prepared(model, dict(inputs), loop, max_new_tokens=4)
    for sample, pictures in enumerate(family.pictures(3)):
        # Marks around a picture count as parts of it on some families, as their processors say.
        wanted_types = question_inputs(processor, pictures, question("dog"))
        for name in hf.TYPES:
            if name in inputs:
                row = found["prompts"][name][sample]
                assert row[-wanted_types[name].shape[1] :].tolist() == wanted_types[name][0].tolist(), name
    del found["prompts"]
    for name, margins in found.items():
        np.testing.assert_allclose(margins, found["whole"], atol=5e-5, err_msg=name)
    assert ("shared" in found) == every_layer_keeps_a_column_per_token(model)


@pytest.fixture(scope="module")
def loaded():
    return ls.load_model("scenes")


def test_features_are_those_of_a_trace(loaded, monkeypatch):
    model, processor = loaded
    pictures = [[draw_scene(scene)] for scene in generate_scenes(3, 78)]
    prompts = ["Describe the image.", "Please describe this image in detail.", "Write a caption."]
    processor.tokenizer.padding_side = "left"
    texts = [f"USER: <image>\n{prompt} ASSISTANT:" for prompt in prompts]
    inputs = processor(images=pictures, text=texts, padding=True, return_tensors="pt")
    seen = {}
    odds = Reader.odds

    def kept(self, row, token):
        seen[row.number, row.draft.ids[token], token] = odds(self, row, token)
        return seen[row.number, row.draft.ids[token], token]

    monkeypatch.setattr(Reader, "odds", kept)
    # Rows that go back leave the others at other columns: what was read of them stays the same.
    for method in (ls.Guard(action="flag", ask=False), ls.Guard(threshold=0.02, ask=False)):
        seen.clear()
        out = ls.generate(model, inputs, [method], processor=processor, max_new_tokens=60)
        risk = RiskModel.load(SHIPPED)
        trace = ls.trace(model, inputs, out)
        said = risk.predict(trace)
        compared = 0
        for sample, ids in enumerate(trace.token_ids.tolist()):
            for token, first in enumerate(ids):
                if (sample, first, token) in seen and token > 0:
                    expected = torch.logit(said[sample, token].double()).item()
                    # In the text as it ended up: what was taken back and written alike has the same features.
                    if abs(expected) < 10:
                        assert seen[sample, first, token] == pytest.approx(expected, abs=2e-3)
                        compared += 1
        assert compared >= 5


def test_causal_groups_know_nothing_of_what_follows(loaded):
    """The features of a word in a text are those in the text's beginning up to the word behind it."""
    model, processor = loaded
    scene = generate_scenes(1, 79)[0]
    inputs = processor(
        images=[[draw_scene(scene)]], text=["USER: <image>\nDescribe the image. ASSISTANT:"], return_tensors="pt"
    )
    out = ls.generate(model, inputs, max_new_tokens=40)
    start = inputs["input_ids"].shape[1]
    whole = of_trace(ls.trace(model, inputs, out.sequences), None, CAUSAL)
    part = of_trace(ls.trace(model, inputs, out.sequences[:, : start + 14]), None, CAUSAL)
    for name in CAUSAL:
        np.testing.assert_allclose(whole[name][:, :13], part[name][:, :13], atol=1e-5, err_msg=name)
        assert len(names_of(name, range(6))) == whole[name].shape[-1]
    assert "words after" not in CAUSAL


def test_the_first_question_may_come_when_the_first_sample_is_done(monkeypatch):
    # Whether questions share the cache is tested once, on a sample that is still in the batch.
    asked, model = [], torch.nn.Identity()
    asker = object.__new__(questions.Asker)
    asker.model, asker.shared = model, True
    asker.source = lambda: (None, {2: (0, 0), 3: (1, 0)})

    def margins(wanted):
        asked.extend(wanted)
        questions._TRUE[model] = {"shared": True}

    monkeypatch.setattr(asker, "margins", margins)
    assert asker.shares
    assert [sample for sample, _ in asked] == [2]
