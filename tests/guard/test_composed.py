"""A guard in a whole generation: what it leaves alone, batches, streams, several texts, and what it is combined with.

A script in place of the model's own logits says what is written, so that every decision can be followed."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from lvlm_saliency.guard.verdicts import Random, Rates
from lvlm_saliency.risk.model import SHIPPED
from lvlm_saliency.scenes import generate_scenes

from .scripted import Absent, Script, batch, guard, scripted, text_of


def test_the_oracles_choice_among_several_texts(loaded, inputs):
    """Best of N, chosen by labels: the ceiling of choosing, where no text is changed."""
    from lvlm_saliency.guard.verdicts import Oracle

    model, processor = loaded
    scenes = generate_scenes(4, 77)
    present = {sample: scene.present for sample, scene in enumerate(scenes)}
    method = ls.Guard(action="best_of", samples=3, words="scenes", verdicts=Oracle(present), seed=1)
    out = ls.generate(model, inputs, [method], processor=processor, max_new_tokens=60)

    def worth(sample, text):
        named = {word.strip(".,").lower() for word in text.split()}
        known = {name for scene in scenes for name in scene.present} | {"dog", "cat", "cup", "car", "boat", "bird"}
        return sum(1 if name in present[sample] else -10 for name in named & known)

    plain = ls.generate(model, inputs, max_new_tokens=60)
    for sample in range(4):
        best, greedy = (text_of(processor, one, inputs, sample) for one in (out, plain))
        assert worth(sample, best) >= worth(sample, greedy)
        assert {event.risk for event in out.guard[sample]} <= {0.0, 1.0}


def test_a_rate_of_zero_and_a_neutral_threshold_change_nothing(loaded, inputs):
    model, processor = loaded
    how = {"max_new_tokens": 24, "output_logits": True}
    plain = ls.generate(model, inputs, **how)
    never = Random(Rates((0.0,), 0.0))
    for method in (
        ls.Guard(verdicts=never),
        ls.Guard(recall_loss=0),
        ls.Guard(threshold=1),
        ls.Guard(action="flag", threshold=0.01),
    ):
        out = ls.generate(model, inputs, [method], processor=processor, **how)
        assert torch.equal(out.sequences, plain.sequences)
        if method.verdicts is None:
            assert all(torch.equal(a, b) for a, b in zip(out.logits, plain.logits, strict=True))


@pytest.mark.parametrize("own", [False, True])
def test_flagging_draws_as_without_a_guard(loaded, inputs, own):
    model, processor = loaded
    how = {"max_new_tokens": 30, "do_sample": True, "temperature": 1.0, "top_p": 0.9}
    beside = [ls.Sampling(seed=5)] if own else []
    found = []
    for methods in (beside, [*beside, ls.Guard(action="flag", threshold=0.01)]):
        torch.manual_seed(3)
        found.append(ls.generate(model, inputs, methods, processor=processor, **how).sequences)
        found.append(torch.rand(1))
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])


def test_a_batch_gives_what_each_row_gives_alone(loaded, inputs):
    model, processor = loaded
    for method in (ls.Guard(verdicts=Random(Rates((0.5,), 0.3), seed=1)), ls.Guard(threshold=0.05, risk="off")):
        together = ls.generate(model, inputs, [method], processor=processor, max_new_tokens=60)
        assert together.cost.rollbacks > 0
        for sample in (0, 2):
            mask = inputs["attention_mask"][sample].bool()
            one = {name: value[sample : sample + 1] for name, value in inputs.items()}
            one = {name: value[:, mask] if name != "pixel_values" else value for name, value in one.items()}
            alone = ls.generate(model, one, [method], processor=processor, sample_ids=[sample], max_new_tokens=60)
            assert [r.token_id for r in alone.steps[0]] == [r.token_id for r in together.steps[sample]]
            assert [e.to_dict() | {"margin": 0, "risk": 0} for e in alone.guard[0] if not e.tries] == [
                e.to_dict() | {"margin": 0, "risk": 0} for e in together.guard[sample] if not e.tries
            ]


def test_other_rows_are_not_touched_by_one_that_goes_back(loaded, inputs):
    model, processor = loaded
    plain = ls.generate(model, inputs, max_new_tokens=50)

    class OneRow(Absent):
        def acts(self, word):
            return word.sample == 2

    out = ls.generate(model, inputs, [ls.Guard(verdicts=OneRow())], processor=processor, max_new_tokens=50)
    assert out.cost.rollbacks > 0
    for sample in (0, 1, 3):
        assert [r.token_id for r in out.steps[sample]] == [r.token_id for r in plain.steps[sample]]


class Ear:
    """A streamer that remembers."""

    def __init__(self):
        self.heard, self.ended = [], False

    def put(self, ids):
        assert not self.ended
        self.heard += ids.flatten().tolist()

    def end(self):
        self.ended = True


def test_what_is_streamed_is_the_final_text(loaded, inputs):
    model, processor = loaded
    one = {name: value[:1] for name, value in inputs.items()}
    ear = Ear()
    method = ls.Guard(verdicts=Random(Rates((0.7,), 0.4), seed=2))
    out = ls.generate(model, one, [method], processor=processor, streamer=ear, max_new_tokens=60)
    assert ear.ended
    assert out.cost.rollbacks > 0
    assert ear.heard == out.sequences[0].tolist()  # the prompt too, as transformers hands it on


def test_yes_and_no_are_untouched(loaded, scenes):
    model, processor = loaded
    questions = ["Is there a dog in the image?", "Is there a car?", "How many cups are there?", "Is there a bed?"]
    inputs = batch(processor, scenes, questions)
    plain = ls.generate(model, inputs, max_new_tokens=10, output_logits=True)
    out = ls.generate(model, inputs, [ls.Guard(threshold=0.0, risk="off")], processor=processor, max_new_tokens=10)
    assert torch.equal(out.sequences, plain.sequences)


def test_one_question_for_an_object_of_a_text_however_often_it_is_written(loaded, inputs, monkeypatch):
    from lvlm_saliency.guard.questions import Asker

    asked = []
    margins = Asker.margins

    def counted(self, wanted):
        asked.extend(wanted)
        return margins(self, wanted)

    monkeypatch.setattr(Asker, "margins", counted)
    model, processor = loaded
    out = ls.generate(model, inputs, [ls.Guard(threshold=0.02, risk="off")], processor=processor, max_new_tokens=60)
    assert out.cost.rollbacks > 0
    assert asked
    assert len(asked) == len(set(asked))


def test_the_cut_of_a_word_is_told(loaded, inputs):
    lines = ["There", "is", "a", "dog"]
    out, _ = scripted(loaded, inputs, guard("dog"), *lines, min_new_tokens=4)
    assert out.guard[0]  # the text ended with it: it is complete, and judged
    model, processor = loaded
    one = {name: value[:1] for name, value in inputs.items()}
    script = Script(processor.tokenizer, one["input_ids"].shape[1], "There", "is", "a", "dog", "there")
    out = ls.generate(model, one, [guard("dog")], processor=processor, logits_processor=[script], max_new_tokens=4)
    assert [event.action for event in out.guard[0]] == ["unchecked"]


def test_the_best_of_several_texts(loaded, inputs):
    model, processor = loaded
    method = ls.Guard(action="best_of", samples=3, risk="off", seed=1)
    out = ls.generate(model, inputs, [method], processor=processor, max_new_tokens=60)
    plain = ls.generate(model, inputs, max_new_tokens=60)
    flagged = ls.generate(model, inputs, [ls.Guard(action="flag", risk="off")], processor=processor, max_new_tokens=60)
    assert torch.equal(flagged.sequences, plain.sequences)

    short = [ls.generate(model, inputs, [method], processor=processor, max_new_tokens=12).sequences for _ in range(2)]
    assert torch.equal(*short)

    def worth(events):
        risks = {event.object: event.risk for event in reversed(events)}.values()
        return sum(1 - r - 10 * r for r in risks)

    for best, greedy in zip(out.guard, flagged.guard, strict=True):
        assert worth(best) >= worth(greedy) - 1e-4


def test_an_empty_text_never_wins():
    from lvlm_saliency.guard.row import Row

    class Nothing:
        text, ids, start = "", [], 0

    empty = Row(0, Nothing(), None, None)
    assert empty.worth == float("-inf")


def test_methods_beside_it(loaded, inputs):
    model, processor = loaded
    method = ls.Guard(threshold=0.05, risk="off")
    out = ls.generate(model, inputs, [ls.LocoRE(beta=0.3), method], processor=processor, max_new_tokens=40)
    assert out.cost.rollbacks > 0
    alone = ls.generate(
        model,
        {name: value[:1] for name, value in inputs.items()},
        [ls.LocoRE(beta=0.3), method],
        processor=processor,
        max_new_tokens=40,
    )
    assert [r.token_id for r in alone.steps[0]] == [r.token_id for r in out.steps[0]]
    with pytest.raises(SettingError, match="takes"):
        ls.generate(model, inputs, [ls.SGRS(), method], processor=processor, max_new_tokens=5)
    with pytest.raises(SettingError, match="run the loop"):
        ls.generate(model, inputs, [ls.Beam(), method], processor=processor, max_new_tokens=5)
    with pytest.raises(SettingError, match="cannot run under beams"):
        ls.generate(model, inputs, [method], processor=processor, num_beams=2, max_new_tokens=5)


@pytest.mark.parametrize(
    "name", ["vcd", "dola", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pai", "icd", "causalmm"))]
)
def test_contrasts_beside_it(loaded, inputs, name):
    model, processor = loaded
    settings = {"seed": 2} if name == "vcd" else {}
    contrast = ls.method(name, **settings)
    some = {key: value[:2] for key, value in inputs.items()}
    plain = ls.generate(model, some, [contrast], max_new_tokens=30)
    flagged = ls.generate(
        model, some, [contrast, ls.Guard(action="flag", risk="off")], processor=processor, max_new_tokens=30
    )
    assert torch.equal(flagged.sequences, plain.sequences)
    method = ls.Guard(verdicts=Random(Rates((0.5,), 0.2), seed=4))
    out = ls.generate(model, some, [contrast, method], processor=processor, max_new_tokens=30)
    assert out.cost.rollbacks > 0
    one = {key: value[1:2] for key, value in some.items()}
    alone = ls.generate(model, one, [contrast, method], processor=processor, sample_ids=[1], max_new_tokens=30)
    assert [r.token_id for r in alone.steps[0]] == [r.token_id for r in out.steps[1]]


def test_refusals(loaded, inputs):
    model, processor = loaded
    with pytest.raises(SettingError, match="pass processor"):
        ls.generate(model, inputs, [guard("dog")], max_new_tokens=5)
    with pytest.raises(SettingError, match="nothing to go by"):
        ls.Guard(risk="off", ask=False)
    with pytest.raises(SettingError, match="key/value cache"):
        ls.generate(model, inputs, [guard("dog")], processor=processor, use_cache=False, max_new_tokens=5)
    with pytest.raises(SettingError, match="known as a word is drawn"):
        ls.generate(model, inputs, [ls.Guard(risk=str(SHIPPED))], processor=processor, max_new_tokens=5)
    with pytest.raises(SettingError, match="unknown action"):
        ls.Guard(action="rewrit")


def test_samples_that_are_done_leave_the_batch(loaded, scenes):
    # The longest text goes on alone; what is done is fed no longer, and no text depends on it.
    model, processor = loaded
    inputs = batch(processor, scenes[:4], ["Please describe this image in detail."] * 4)
    fed = []
    handle = model.register_forward_pre_hook(
        lambda _module, _args, kwargs: fed.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        together = ls.generate(model, inputs, [guard("kite", "cup")], processor=processor, max_new_tokens=60)
    finally:
        handle.remove()
    assert fed[0] == 4 > fed[-1]
    assert fed == sorted(fed, reverse=True)
    for sample in range(4):
        one = {name: value[sample : sample + 1] for name, value in inputs.items()}
        alone = ls.generate(
            model, one, [guard("kite", "cup")], processor=processor, max_new_tokens=60, sample_ids=[sample]
        )
        length = inputs["input_ids"].shape[1]
        width = alone.sequences.shape[1]
        assert torch.equal(together.sequences[sample, length:width], alone.sequences[0, length:])
