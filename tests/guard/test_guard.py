"""The guard's loop: what it takes back, where it goes back to, what it bans and for how long, and what it leaves alone.

A script in place of the model's own logits says what is written, so that every decision can be followed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from lvlm_saliency.guard.verdicts import Random, Rates
from lvlm_saliency.risk.model import SHIPPED
from lvlm_saliency.scenes import draw_scene, generate_scenes

END = "</s>"


@pytest.fixture(scope="module")
def scenes():
    return generate_scenes(4, 77)


@pytest.fixture(scope="module")
def loaded():
    return ls.load_model("scenes")


@pytest.fixture(scope="module")
def inputs(loaded, scenes):
    prompts = [
        "Describe the image.",
        "Please describe this image in detail.",
        "Write a caption.",
        "Describe the picture.",
    ]
    return batch(loaded[1], scenes, prompts)


def batch(processor, scenes, prompts):
    processor.tokenizer.padding_side = "left"
    texts = [f"USER: <image>\n{prompt} ASSISTANT:" for prompt in prompts]
    pictures = [[draw_scene(scene)] for scene in scenes]
    return processor(images=pictures, text=texts, padding=True, return_tensors="pt")


@dataclass
class Absent:
    """Decides that these objects are not there; remembers what it was asked."""

    names: set = field(default_factory=set)
    asked: list = field(default_factory=list)

    def acts(self, word):
        self.asked.append(word)
        return word.name in self.names

    def record(self):
        return {}


class Script:
    """What is written: at each position of an answer the words in order of preference; other words are never written,
    but for the end."""

    def __init__(self, tokenizer, length, *lines):
        self.length = length
        self.places = [[tokenizer.convert_tokens_to_ids(word) for word in line.split("|")] for line in lines]
        self.end = tokenizer.convert_tokens_to_ids(END)

    def __call__(self, ids, scores):
        out = torch.full_like(scores, -50.0)
        at = ids.shape[1] - self.length
        wanted = self.places[at] if at < len(self.places) else [self.end]
        for rank, token in enumerate(wanted):
            out[:, token] = 20.0 - rank
        return out


def scripted(loaded, inputs, guard, *lines, **settings):
    model, processor = loaded
    one = {name: value[:1] for name, value in inputs.items()}
    script = Script(processor.tokenizer, one["input_ids"].shape[1], *lines)
    out = ls.generate(
        model, one, [guard], processor=processor, logits_processor=[script], max_new_tokens=60, **settings
    )
    return out, text_of(processor, out, one)


def text_of(processor, out, inputs, sample=0):
    return processor.decode(out.sequences[sample, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def guard(*absent, **more):
    return ls.Guard(words="scenes", verdicts=Absent(set(absent)), **more)


FIRST = ["There", "is", "a", "cup", "."]


def test_a_banned_word_comes_back_in_a_later_sentence(loaded, inputs):
    lines = [*FIRST, "There", "is", "a", "dog|cat", ".", "There", "is", "a", "dog|car", ".", END]
    out, text = scripted(loaded, inputs, guard("dog"), *lines)
    # Each sentence is written again by itself: the ban of the first has ended when the second begins.
    assert text == "There is a cup. There is a cat. There is a car."
    rewritten = [event for event in out.guard[0] if event.action == "rewritten"]
    assert [event.word for event in rewritten] == ["dog", "dog"]
    assert [len(event.tries) for event in rewritten] == [1, 1]
    assert out.cost.rollbacks == 2


def test_it_goes_back_to_the_clause_first_then_to_the_sentence(loaded, inputs):
    lines = [*FIRST, "There|We", "is", "a", "cat", "with", "a", "dog|car", ".", END]
    out, _ = scripted(loaded, inputs, guard("dog", "car", local_tries=3), *lines, do_sample=False)
    start = len(FIRST)
    returns = {at: record.rollbacks for at, record in enumerate(out.steps[0]) if record.rollbacks}
    assert returns[start + 4] == 1  # the clause that begins with "with"
    assert returns[start] >= 1  # and the sentence
    tries = next(event for event in out.guard[0] if event.tries).tries
    assert [one.word for one in tries[:2]] == ["dog", "car"]


def test_plurals_and_capitals_are_banned_with_the_word(loaded, inputs):
    lines = [*FIRST, "There", "is", "a", "dog|dogs|cat", ".", END]
    _, text = scripted(loaded, inputs, guard("dog"), *lines)
    assert text == "There is a cup. There is a cat."


def test_a_sentence_that_cannot_be_mended_is_dropped_or_ends_the_text(loaded, inputs):
    lines = [*FIRST, f"There|We|{END}", "is", "a", "dog|cat|car|bed", "."]
    out, text = scripted(loaded, inputs, guard("dog", "cat", "car", "bed"), *lines)
    assert text == "There is a cup."
    dropped = next(event for event in out.guard[0] if event.action == "dropped")
    assert dropped.span is None
    # Twice in its own way, then with another beginning, and then the text may end.
    assert [one.text.split()[0] for one in dropped.tries] == ["There", "There", "We"]


def test_another_beginning_is_tried_before_the_text_ends(loaded, inputs):
    """Sentences that begin in some ways name what is absent; one that begins otherwise names nothing."""
    absent = "dog|cat|car|bed|boat"
    lines = [*FIRST, "There|We|It|The|Here", "is", "a", f"{absent}|quiet", "day|.", "."]
    out, text = scripted(loaded, inputs, guard(*absent.split("|")), *lines)
    assert text.endswith("is a quiet day.")
    (event,) = [event for event in out.guard[0] if event.tries]
    assert event.action == "rewritten"
    assert len(event.tries) == 5
    assert text.split(". ")[1].split()[0] not in {one.text.split()[0] for one in event.tries}


def test_no_word_is_said_twice_in_a_row_in_a_new_sentence(loaded, inputs):
    lines = [*FIRST, "There", "is", "a", "red", "dog|red|cat", ".", END]
    _, text = scripted(loaded, inputs, guard("dog"), *lines)
    assert text == "There is a cup. There is a red cat."


def test_no_sentence_begins_within_a_rewritten_one(loaded, inputs):
    """ "We can see a red It is a quiet day" is not written: a sentence begins behind the end of the last one."""
    lines = [*FIRST, "At", "the", "top", ",", "we", "see", "a", "dog|quiet", "dog|day", "It|.", END]
    _, text = scripted(loaded, inputs, guard("dog"), *lines)
    assert text == "There is a cup. At the top, we see a quiet day."


def test_a_rewritten_sentence_that_is_none_begins_otherwise(loaded, inputs):
    """ "There is a." is closed, and still no sentence: another beginning is tried."""
    lines = [*FIRST, "There|It", "is", "a", "dog|.|quiet", "day", "."]
    out, text = scripted(loaded, inputs, guard("dog"), *lines)
    (event,) = [event for event in out.guard[0] if event.tries]
    assert [one.why for one in event.tries][:2] == ["absent", "no sentence"]
    assert "is a." not in text


class Says:
    """Confirms nothing but these values; remembers what it was asked."""

    def __init__(self, *values):
        self.values, self.asked = values, []

    def __call__(self, asker, wanted):
        self.asked += [said for _, said in wanted]
        return [said.value in self.values for _, said in wanted]


@pytest.fixture
def judged_absent(monkeypatch):
    """The guard's own judge, whose answers say that these objects are not there."""
    from lvlm_saliency.guard.questions import Asker

    def of(*names):
        def margins(self, wanted):
            return [9.0 if any(f" {name} " in words for name in names) else -9.0 for _, words in wanted]

        monkeypatch.setattr(Asker, "margins", margins)
        return ls.Guard(risk="off", threshold=0.5, words="scenes")

    return of


def test_what_a_rewritten_sentence_says_of_an_object_is_asked_about(loaded, inputs, judged_absent, monkeypatch):
    says = Says("one", "blue", "on the left")
    monkeypatch.setattr("lvlm_saliency.guard.writer.confirmed", says)
    lines = ["There", "is", "a", "red", "cup", "."]
    lines += ["There", "is", "a", "red|blue", "dog|cat", "on|.", "the", "right", "."]
    out, text = scripted(loaded, inputs, judged_absent("dog"), *lines)
    # What was written at once is left alone; of what was written again, colour and place are mended where they stand.
    assert text.startswith("There is a red cup. There is a blue cat.")
    (event,) = [event for event in out.guard[0] if event.tries]
    tries = [(one.word, one.why) for one in event.tries]
    assert tries == [("dog", "absent"), ("red", "colour"), ("on the right", "place")]
    assert ("colour", "cat", "red") in {(said.kind, said.name, said.value) for said in says.asked}
    assert len(says.asked) == len({said.key for said in says.asked}), "once for a text"
    assert "cup" not in {said.name for said in says.asked}


def test_how_objects_lie_to_each_other_is_not_said_again(loaded, inputs, judged_absent, monkeypatch):
    monkeypatch.setattr("lvlm_saliency.guard.writer.confirmed", Says("one"))
    lines = ["There", "is", "a", "cup", ".", "There", "is", "a", "dog|cat", "next|.", "to|.", "the", "cup", "."]
    out, text = scripted(loaded, inputs, judged_absent("dog"), *lines)
    assert text.startswith("There is a cup. There is a cat.")
    assert "relation" in {one.why for event in out.guard[0] for one in event.tries}
    off = ls.Guard(risk="off", threshold=0.5, words="scenes", attributes=False)
    _, text = scripted(loaded, inputs, off, *lines)
    assert text.startswith("There is a cup. There is a cat next to the cup.")


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


def test_counters_are_hit_exactly_and_it_never_loops(loaded, inputs):
    everything = guard("ball", "bed", "bird", "boat", "book", "car", "cat", "cup", "dog", "kite")
    lines = ["There", "is", "a", "dog|cat|car|bed|cup|boat|bird|ball|book|kite", "."] * 3
    for local, total in ((1, 20), (2, 20), (4, 3), (3, 1)):
        method = ls.Guard(words="scenes", verdicts=everything.verdicts, local_tries=local, total_tries=total)
        out, text = scripted(loaded, inputs, method, *lines)
        flagged = [event for event in out.guard[0] if event.action == "flagged" and event.tries]
        assert len(flagged[0].tries) == min(local, total + 1)
        taken = sum(len(event.tries) for event in out.guard[0])
        assert text
        assert taken <= total + 1


def test_all_banned_lifts_the_newest_ban(loaded, inputs):
    class Only(Script):
        def __call__(self, ids, scores):
            out = super().__call__(ids, scores)
            return out.masked_fill(out < 0, -torch.inf)

    model, processor = loaded
    one = {name: value[:1] for name, value in inputs.items()}
    script = Only(processor.tokenizer, one["input_ids"].shape[1], *FIRST, "There", "is", "a", "dog", ".", END)
    out = ls.generate(model, one, [guard("dog")], processor=processor, logits_processor=[script], max_new_tokens=40)
    assert text_of(processor, out, one).startswith("There is a cup.")


def test_a_present_object_is_not_introduced_again(loaded, inputs):
    lines = [*FIRST, "There", "is", "a", "dog|cup|cat", ".", END]
    _, text = scripted(loaded, inputs, guard("dog"), *lines)
    assert text == "There is a cup. There is a cat."
    lines = [*FIRST, "There", "is", "a", "red", "dog|cup|cat", ".", END]
    _, text = scripted(loaded, inputs, guard("dog"), *lines)
    assert text == "There is a cup. There is a red cat."


def test_a_rate_of_zero_and_a_neutral_threshold_change_nothing(loaded, inputs):
    model, processor = loaded
    how = {"max_new_tokens": 40, "output_logits": True}
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


def test_a_batch_gives_what_each_row_gives_alone(loaded, scenes, inputs):
    model, processor = loaded
    for method in (ls.Guard(verdicts=Random(Rates((0.5,), 0.3), seed=1)), ls.Guard(threshold=0.05, risk="off")):
        together = ls.generate(model, inputs, [method], processor=processor, max_new_tokens=60)
        assert together.cost.rollbacks > 0
        for sample in range(len(scenes)):
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
    again = ls.generate(model, inputs, [method], processor=processor, max_new_tokens=60)
    assert torch.equal(out.sequences, again.sequences)
    plain = ls.generate(model, inputs, max_new_tokens=60)
    flagged = ls.generate(model, inputs, [ls.Guard(action="flag", risk="off")], processor=processor, max_new_tokens=60)
    assert torch.equal(flagged.sequences, plain.sequences)

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


@pytest.mark.parametrize("name", ["vcd", "dola", "pai", "icd", "causalmm"])
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
    for sample in range(2):
        one = {key: value[sample : sample + 1] for key, value in some.items()}
        alone = ls.generate(model, one, [contrast, method], processor=processor, sample_ids=[sample], max_new_tokens=30)
        assert [r.token_id for r in alone.steps[0]] == [r.token_id for r in out.steps[sample]]


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
