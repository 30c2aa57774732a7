"""All detectors on the shipped model: finite, one pass, the same from a trace, and on the command line."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.cli import main
from lvlm_saliency.detection.mention import Mention, every_word
from lvlm_saliency.detection.passes import QUESTION, denials, named_freely
from lvlm_saliency.detection.registry import detector_class
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.risk.model import SHIPPED, SHIPPED_CAUSAL, RiskModel
from lvlm_saliency.scenes.classes import CLASSES, PLURALS
from lvlm_saliency.tracing.result import token_texts


@pytest.fixture(scope="module")
def told():
    """(model, processor, picture, inputs, sequences, mentions) of a caption of a drawn scene."""
    from lvlm_saliency.scenes import demo_scenes, draw_scene

    model, processor = ls.load_model("scenes", device="cpu")
    picture = draw_scene(demo_scenes()[0])
    inputs = ls.build_inputs(processor, [picture], "Describe the image.", model=model)
    sequences = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    ids = sequences[0, inputs["input_ids"].shape[1] :].tolist()
    mentions = every_word(token_texts(processor.tokenizer, ids))
    return model, processor, picture, inputs, sequences, mentions


@pytest.fixture(scope="module")
def everything(told):
    model, processor, picture, inputs, sequences, mentions = told
    names = [name for name in ls.detectors() if detector_class(name).fit != "trained" or name == "risk"]
    shown = {"processor": processor, "images": [[picture]], "mentions": mentions}
    return names, ls.reading(model, inputs, sequences, names, **shown)[0]


def test_every_score_is_finite_behind_the_first_word(told, everything):
    names, reading = everything
    for name in names:
        one = ls.detector(name, **({"tau": 1.0} if name == "viser" else {}))
        risks = [one.score(reading, mention) for mention in told[-1]]
        assert all(map(math.isfinite, risks[1:])), name
        assert len(set(risks[1:])) > 1, name


def test_a_trace_does_where_no_more_is_needed(told, everything):
    model, _, _, inputs, sequences, mentions = told
    trace = ls.trace(model, inputs, sequences)
    for name in ("nll", "entropy", "svar", "pas", "output-saliency", "image-saliency", "risk"):
        for mention in mentions[1:]:
            risk = ls.detector(name).score(trace, mention)
            assert risk == pytest.approx(ls.detector(name).score(everything[1], mention), rel=1e-4, abs=1e-6), name
    for name in ("lookback", "margin", "glsim", "internal-confidence", "self-check", "blank-picture"):
        with pytest.raises(SettingError, match=r"lvlm_saliency\.reading"):
            ls.detector(name).score(trace, mentions[0])


def test_the_causal_risk_reads_what_the_guard_reads(told):
    from lvlm_saliency.detection.causal_risk import looked
    from lvlm_saliency.risk.signals import of_trace

    model, processor, _, inputs, sequences, mentions = told
    groups = ("attention", "attention concentration", "repetition", "words before")
    signals = of_trace(ls.trace(model, inputs, sequences), groups=groups)
    one = ls.detector("causal-risk")
    reading = ls.reading(model, inputs, sequences, [one], processor=processor)[0]
    layers = reading.depth.attention
    for mention in mentions[2:]:
        t = mention.start
        for number, layer in enumerate(layers):
            found = looked(reading, layer, t)
            assert found[:5] == pytest.approx(signals["attention"][0, t, 5 * number : 5 * number + 5], abs=1e-4)
            near = signals["attention concentration"][0, t, 2 * number : 2 * number + 2]
            assert found[5:] == pytest.approx(near, abs=1e-4)
        features = one.features(reading, mention)
        assert features[2:6] == pytest.approx(signals["words before"][0, t][[2, 3, 0, 1]], abs=1e-4)
        assert features[8] == pytest.approx(signals["repetition"][0, t, 0], abs=1e-6)


def test_the_causal_risk_that_ships_is_the_guards(told):
    model, processor, _, inputs, sequences, mentions = told
    trace = ls.trace(model, inputs, sequences)
    ships = RiskModel.load(SHIPPED_CAUSAL)
    risks = ships.predict(trace)[0]
    one = ls.detector("causal-risk")
    reading = ls.reading(model, inputs, sequences, [one, "risk"], processor=processor)[0]
    assert any(one.judges(reading, mention) for mention in mentions)
    for mention in mentions:
        assert one.judges(reading, mention) == (mention.name in {*CLASSES, *PLURALS.values()})
        if mention.start + 1 == reading.count:
            continue  # a trace does not say what comes after the last token
        assert one.score(reading, mention) == pytest.approx(float(risks[mention.start]), rel=1e-3, abs=1e-5)
        assert ls.detector("causal-risk", model=SHIPPED_CAUSAL).score(reading, mention) == one.score(reading, mention)
    assert not any(ls.detector("causal-risk", **{extra: True}).ready for extra in ("hidden", "asked"))
    saliency = ls.detector("causal-risk", model=SHIPPED)
    with pytest.raises(SettingError, match=r"reads saliency, .* which a word does not have yet"):
        saliency.score(reading, mentions[0])
    # The figures of one model mean nothing on another.
    other = dataclasses.replace(reading, architecture={**reading.architecture, "width": 8})
    for name in ("causal-risk", "risk"):
        with pytest.raises(InputError, match="was trained on"):
            ls.detector(name).score(other, mentions[0])


def test_questions_are_those_that_are_asked_by_hand(told):
    model, processor, picture, *_ = told
    found = denials(model, processor, [picture], ["cat", "apple"])
    freely = named_freely(model, processor, [picture], ["cat"])
    tokenizer = processor.tokenizer
    for name, asked in (("cat", "Is there a cat in the image?"), ("apple", "Is there an apple in the image?")):
        inputs = ls.build_inputs(processor, [picture], asked, model=model)
        with torch.no_grad():
            log_p = torch.log_softmax(model(**inputs).logits[0, -1].float(), -1)
        words = {word: [i for i in range(len(tokenizer)) if tokenizer.decode([i]).strip().lower() == word]
                 for word in ("yes", "no")}  # fmt: skip
        assert found[name] == pytest.approx(float(log_p[words["no"]].logsumexp(-1) - log_p[words["yes"]].logsumexp(-1)))
    ids = tokenizer("Cat", add_special_tokens=False)["input_ids"]
    inputs = ls.build_inputs(processor, [picture], QUESTION, model=model)
    whole = torch.cat([inputs["input_ids"], torch.tensor([ids])], 1)
    with torch.no_grad():
        given = {**inputs, "input_ids": whole, "attention_mask": torch.ones_like(whole)}
        log_p = torch.log_softmax(model(**given).logits[0, -len(ids) - 1 : -1].float(), -1)
    assert freely["cat"] == pytest.approx(float(log_p.gather(-1, torch.tensor(ids)[:, None]).sum()), rel=1e-4)


def test_questions_need_pictures_and_words(told):
    model, processor, _, inputs, sequences, _ = told
    with pytest.raises(SettingError, match="images="):
        ls.reading(model, inputs, sequences, ["self-check"], processor=processor, mentions=[Mention(0, 1, "cat")])


def test_the_command_lists_and_describes_them(capsys):
    assert main(["detectors", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == ls.detectors()
    for one in listed:
        assert one["needs"]
        assert one["paper"]
        assert one["causal"] in ("yes", "no")
    assert main(["detectors"]) == 0
    assert "internal-confidence" in capsys.readouterr().out
    assert main(["detectors", "glsim"]) == 0
    assert "weight=0.6" in "".join(capsys.readouterr().out.split("\n"))
    assert main(["detectors", "glsin"]) == 2
    assert "glsim" in capsys.readouterr().err
