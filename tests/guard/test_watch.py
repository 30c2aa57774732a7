"""Who watches a guarded text sees it come about: drafts, what is taken back, and what is settled for good."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.guard.events import Moment, Watcher
from lvlm_saliency.guard.verdicts import Random, Rates
from lvlm_saliency.scenes import demo_scenes, draw_scene

PROMPT = "Describe the image."


class Onlooker(Watcher):
    """Remembers the moments of each text, and how many tokens of it had been released by then."""

    def __init__(self, rows):
        self.tokens: list[list[int]] = [[] for _ in range(rows)]
        self.seen: list[list[tuple[Moment, int]]] = [[] for _ in range(rows)]

    def put(self, ids):
        if ids.dim() == 1:
            for row, token in zip(self.tokens, ids.tolist(), strict=True):
                row.append(token)

    def end(self):
        """Nothing is left to do."""

    def watch(self, sample, moment):
        self.seen[sample].append((moment, len(self.tokens[sample])))


@pytest.fixture(scope="module")
def loaded():
    return ls.load_model("scenes", device="cpu")


def guarded(loaded, rows, **knobs):
    model, processor = loaded
    pictures = [[draw_scene(scene)] for scene in demo_scenes(rows)]
    talk = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}]
    text = processor.apply_chat_template(talk, add_generation_prompt=True)
    inputs = processor(images=pictures, text=[text] * rows, return_tensors="pt", padding=True)
    method = ls.Guard(verdicts=Random(Rates((0.7,), 0.4), seed=2), **knobs)
    looking = Onlooker(rows)
    out, silent = (
        ls.generate(model, inputs, [method], processor=processor, streamer=streamer, max_new_tokens=60)
        for streamer in (looking, None)
    )
    assert torch.equal(out.sequences, silent.sequences), "who watches changes nothing"
    return out, looking


@pytest.mark.parametrize("rows", [1, 3])
def test_moments_tell_the_whole_story(loaded, rows):
    out, looking = guarded(loaded, rows)
    tokenizer = loaded[1].tokenizer
    for sample, seen in enumerate(looking.seen):
        moments = [moment for moment, _ in seen]
        settled = "".join(moment.text for moment in moments if moment.kind == "settled")
        ids = [step.token_id for step in out.steps[sample]]
        assert settled.strip() == tokenizer.decode(ids, skip_special_tokens=True).strip()
        events = [event for event in out.guard[sample] if event.tries]
        tries = [one for event in events for one in event.tries if event.action in ("rewritten", "dropped")]
        back = [moment for moment in moments if moment.kind == "taken back"]
        told = [(moment.text, moment.word, moment.object, moment.risk, moment.why) for moment in back]
        for one in tries:
            assert (one.text, one.word, one.object, one.risk, one.why) in told
        assert len(back) == sum(step.rollbacks for step in out.steps[sample])
        ends = [moment.action for moment in moments if moment.kind == "settled" and moment.action != "kept"]
        assert [action for action in ends if action in ("rewritten", "dropped")] == [
            event.action for event in events if event.action in ("rewritten", "dropped")
        ]
    assert any(moment.kind == "taken back" for seen in looking.seen for moment, _ in seen), "else nothing was shown"


def test_what_was_released_is_never_taken_back(loaded):
    out, looking = guarded(loaded, 1)
    whole = loaded[1].tokenizer.decode([step.token_id for step in out.steps[0]], skip_special_tokens=True).strip()
    before = ""
    for moment, _ in looking.seen[0]:
        if moment.kind == "settled":
            before += moment.text
            assert whole.startswith(before.strip())
    released = [count for _, count in looking.seen[0]]
    assert released == sorted(released)
    assert looking.tokens[0] == [step.token_id for step in out.steps[0]]
    drafts = [moment.text for moment, _ in looking.seen[0] if moment.kind == "draft"]
    back = [moment.text for moment, _ in looking.seen[0] if moment.kind == "taken back"]
    assert len(drafts) > len(back) > 0


def test_a_text_that_keeps_everything_has_nothing_taken_back(loaded):
    out, looking = guarded(loaded, 1, action="flag")
    kinds = {moment.kind for moment, _ in looking.seen[0]}
    assert kinds == {"draft", "settled"}
    flagged = [event for event in out.guard[0] if event.action == "flagged"]
    actions = [moment.action for moment, _ in looking.seen[0] if moment.kind == "settled"]
    assert ("flagged" in actions) == bool(flagged)


def test_moments_are_plain_data_without_what_is_empty():
    assert Moment("draft", "").to_dict() == {"kind": "draft", "text": ""}
    full = Moment("taken back", "A cat", "cat", "cat", 0.0, "absent").to_dict()
    assert full == {"kind": "taken back", "text": "A cat", "word": "cat", "object": "cat", "risk": 0.0, "why": "absent"}
    with pytest.raises(NotImplementedError, match="draft"):
        Watcher().watch(0, Moment("draft", "x"))
