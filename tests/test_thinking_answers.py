"""Risk, detectors and the guard take the answer of a model that thinks for the answer, and leave the thinking alone."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.chat import Chat, Query
from lvlm_saliency.detection.capture import reading
from lvlm_saliency.detection.fitted import Fittable
from lvlm_saliency.detection.mention import every_word
from lvlm_saliency.detection.registry import detector
from lvlm_saliency.model.inputs import question_inputs
from lvlm_saliency.model.thinking import ANSWER, Ear, Marks, answered_at_once, parts_of
from lvlm_saliency.risk.model import SHIPPED, RiskModel
from lvlm_saliency.scenes import draw_scene, generate_scenes

OPEN, CLOSE = "Please", "Here"
"""Words that stand for the marks: the scenes model's tokenizer knows no others."""
THOUGHT, ANSWERED = "We see a dog and a car .", "There is a dog and a small ball ."
PROMPT = f"USER: <image>\nDescribe the image. ASSISTANT: {OPEN}"


@functools.cache
def thinker():
    """The scenes model with a template by which it thinks, its inputs, and the ids of thinking, mark and answer."""
    model, processor = ls.load_model("scenes")
    tokenizer = processor.tokenizer
    picture = draw_scene(generate_scenes(1, 11)[0])
    inputs = dict(processor(images=[[picture]], text=[PROMPT], return_tensors="pt"))
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (THOUGHT, CLOSE, ANSWERED)]
    tokenizer.response_template = {"fields": {"thinking": {"open": OPEN, "close": CLOSE}}}
    return model, processor, picture, inputs, ids


def both():
    """(inputs, sequences) with the thinking as a part of the text, and with it as a part of the prompt."""
    *_, inputs, (thought, mark, answer) = thinker()
    first = len(thought) + len(mark)
    whole = torch.cat([inputs["input_ids"], torch.tensor([[*thought, *mark, *answer]])], 1)
    prompt = whole[:, : inputs["input_ids"].shape[1] + first]
    told = {**inputs, "input_ids": prompt, "attention_mask": torch.ones_like(prompt)}
    return first, (inputs, whole), (told, whole)


def test_risk_is_that_of_the_answer_after_its_thinking():
    model, processor, *_ = thinker()
    first, (inputs, sequences), (told, _) = both()
    risk = RiskModel.load(SHIPPED)
    thinking = ls.trace(model, inputs, sequences).with_thinking(processor)
    prompt = ls.trace(model, told, sequences)
    found = risk.predict(thinking)
    assert found[0, :first].isnan().all()
    torch.testing.assert_close(found[0, first:], risk.predict(prompt)[0], atol=1e-5, rtol=1e-4)
    objects = risk.names_object(thinking)
    assert not objects[0, :first].any()
    assert torch.equal(objects[0, first:], risk.names_object(prompt)[0])
    assert objects.sum() == 2
    plain = ls.trace(model, inputs, sequences)
    assert risk.names_object(plain).sum() == 4, "without marks the thinking is text like any other"


DETECTORS = [name for name in ls.detectors() if name != "risk" and not isinstance(detector(name), Fittable)]


@pytest.mark.parametrize("name", [*DETECTORS, "risk", "causal-risk"])
def test_detectors_read_the_answer_after_its_thinking(name):
    model, processor, picture, *_ = thinker()
    first, (inputs, sequences), (told, _) = both()
    tokenizer = processor.tokenizer
    chosen = detector(name)
    pieces = [tokenizer.decode([token]) + " " for token in sequences[0, told["input_ids"].shape[1] :].tolist()]
    words = [word for word in every_word(pieces) if word.name in ("dog", "ball", "small")]
    moved = [type(word)(**{**vars(word), "start": word.start + first, "end": word.end + first}) for word in words]
    given = {"images": [[picture]], "processor": processor}
    (thinking,) = reading(model, inputs, sequences, [chosen], mentions=moved, **given)
    (prompt,) = reading(model, told, sequences, [chosen], mentions=words, **given)
    assert len(words) == 3
    for word, later in zip(words, moved, strict=True):
        if name == "causal-risk":
            from lvlm_saliency.detection.answers import located

            wanted, found = chosen.features(prompt, word), chosen.features(*located(thinking, later))
        else:
            wanted, found = chosen.score(prompt, word), chosen.score(thinking, later)
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
    thought = type(words[0])(3, 4, "dog", "dog")
    assert np.isnan(chosen.score(thinking, thought)) or name == "causal-risk"
    assert chosen.explain(thinking, thought) == pytest.approx({"score": float("nan")}, nan_ok=True)


def test_an_explanation_tells_the_two_apart():
    model, processor, picture, *_ = thinker()
    chat = Chat(model, processor)
    query = Query("Describe the image.", [picture])
    _, _, _, _, (thought, mark, answer) = thinker()
    ids = [*processor.tokenizer(OPEN, add_special_tokens=False)["input_ids"], *thought, *mark, *answer]
    (written,) = chat.given_ids([query], [ids])
    (found,) = chat.explain([written], risk=RiskModel.load(SHIPPED), detectors=["nll"], layouts=False)
    kinds = [kind for kind, _, _ in found.trace.parts[0]]
    assert kinds == ["mark", "thinking", "mark", "answer"]
    start = found.trace.parts[0][-1][1]
    assert [found.tokens[at].strip() for at, known in enumerate(found.risk.objects) if known] == ["dog", "ball"]
    assert np.isnan(found.risk.of_objects[:start]).all()
    assert np.isnan(found.detectors["nll"][:start]).all()
    assert np.isfinite(found.detectors["nll"][start:]).sum() >= 6


def written(guard, prompt_ids=None, lines=()):
    """What a guard makes of a script, behind the prompt that opens the thinking (or behind more of a text)."""
    model, processor, _, inputs, _ = thinker()
    given = inputs if prompt_ids is None else {
        **inputs, "input_ids": prompt_ids, "attention_mask": torch.ones_like(prompt_ids)
    }  # fmt: skip
    length = given["input_ids"].shape[1]
    places = [[processor.tokenizer.convert_tokens_to_ids(word) for word in line.split("|")] for line in lines]
    end = processor.tokenizer.eos_token_id

    def script(ids, scores):
        out = torch.full_like(scores, -50.0)
        at = ids.shape[1] - length
        for rank, token in enumerate(places[at] if at < len(places) else [end]):
            out[:, token] = 20.0 - rank
        return out

    how = {"processor": processor, "logits_processor": [script], "max_new_tokens": 60, "do_sample": False}
    out = ls.generate(model, given, [guard], **how)
    text = processor.decode(out.sequences[0, length:], skip_special_tokens=True)
    return out, text.strip()


class Absent:
    """Decides that these objects are not there."""

    def __init__(self, *names):
        self.names, self.asked = names, []

    def acts(self, word):
        self.asked.append(word.name)
        return word.name in self.names

    def record(self):
        return {}


THINK = [*THOUGHT.split(), CLOSE]


def test_the_guard_leaves_thinking_alone():
    judge = Absent("dog")
    lines = [*THINK, "There", "is", "a", "cup", ".", "There", "is", "a", "dog|cat", ".", "</s>"]
    out, text = written(ls.Guard(words="scenes", verdicts=judge), lines=lines)
    assert text == f"{' '.join(THINK)} There is a cup. There is a cat.".replace(" .", ".")
    assert judge.asked == ["cup", "dog", "cat"], "the dog and the car of the thinking were not judged"
    spans = [event.span for event in out.guard[0] if not event.tries]
    assert min(first for first, _ in spans) > len(THINK)
    # The first sentence of the answer is as the first of a text: it can be rewritten, and is never dropped.
    _, text = written(
        ls.Guard(words="scenes", verdicts=Absent("dog")), lines=[*THINK, "There", "is", "a", "dog|cup", "."]
    )
    assert text.endswith("Here There is a cup.")


def test_a_text_that_ends_in_its_thinking_comes_to_an_end():
    for lines in (THOUGHT.split(), [*THOUGHT.split(), "</s>"], THINK, []):
        out, _ = written(ls.Guard(words="scenes", verdicts=Absent("dog")), lines=lines)
        assert out.guard[0] == []


@pytest.mark.parametrize("action", ["flag", "rewrite"])
def test_the_guards_risk_is_that_of_the_answer_after_its_thinking(action):
    _, _, _, inputs, (thought, mark, _) = thinker()
    answer = ["There", "is", "a", "cup", "and", "a", "dog", ".", "It", "is", "red", ".", "</s>"]
    guard = ls.Guard(ask=False, action=action, threshold=0.999)
    out, _ = written(guard, lines=[*THINK, *answer])
    prompt = torch.cat([inputs["input_ids"], torch.tensor([[*thought, *mark]])], 1)
    told, _ = written(guard, prompt, answer)
    risks = [(event.object, event.risk) for event in out.guard[0]]
    wanted = [(event.object, event.risk) for event in told.guard[0]]
    assert [name for name, _ in risks] == [name for name, _ in wanted]
    assert {"cup", "dog"} <= {name for name, _ in risks}
    assert [risk for _, risk in risks] == pytest.approx([risk for _, risk in wanted], rel=1e-3)


def test_questions_are_answered_at_once():
    assert answered_at_once(thinker()[1], f"USER: hm ASSISTANT: {OPEN}\n") == (
        f"USER: hm ASSISTANT: {OPEN}\n\n{CLOSE}\n\n"
    )
    assert answered_at_once(thinker()[1], "USER: hm ASSISTANT:") == "USER: hm ASSISTANT:"
    _, processor, picture, *_ = thinker()
    kept = processor.chat_template
    try:
        processor.chat_template = "USER: <image>\n{{ messages[0].content[-1].text }} ASSISTANT: " + OPEN
        ids = question_inputs(processor, [picture], "Is there a dog in the image?")["input_ids"][0].tolist()
    finally:
        processor.chat_template = kept
    assert processor.tokenizer.decode(ids).rstrip().endswith(CLOSE)


QWEN = Marks("<think>", ("</think>",), "<|im_start|>assistant\n", ("<answer>",))
PIECES = st.lists(st.sampled_from(["a", "bc", "<thi", "nk>", "<", "<think>", "</think>", "x</th", "ink>y", "<answer>"]))


@given(PIECES, st.booleans())
def test_what_is_heard_as_it_is_written_is_what_the_whole_text_says(tokens, opened):
    prompt = "<|im_start|>assistant\n" + "<think>\n" * opened
    text = "".join(tokens)
    if not opened and "</think>" in text and "<think>" not in text[: text.index("</think>")]:
        return  # a thinking that nothing was seen to open: only the whole text tells
    wanted = [kind != ANSWER for kind, first, end in parts_of(QWEN, prompt, tokens) for _ in range(first, end)]
    ear, found = Ear(QWEN, prompt), []
    for token in tokens:
        found.append(False)
        known = ear.hear(token)
        found[len(found) - known :] = [True] * known
    assert found == wanted
    # Whatever is taken back can be heard again.
    for length in range(len(tokens) + 1):
        other = Ear(QWEN, prompt)
        for token in tokens:
            other.hear(token)
        other.forget(length)
        again = Ear(QWEN, prompt)
        for token in tokens[:length]:
            again.hear(token)
        assert other.heard == again.heard
