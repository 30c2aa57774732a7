"""A guarded text over the API: its events, and, where it is streamed, how it comes about."""

from __future__ import annotations

import pytest

import lvlm_saliency as ls
from lvlm_saliency.scenes import demo_scenes, draw_scene
from lvlm_saliency.serve.rows import sample_id

from .conftest import PATH, QUESTION, asking, refused

GUARD = {"methods": ["guard"]}
LIMIT = 64


@pytest.fixture(scope="module")
def picture():
    """One of which the shipped model names what is not there."""
    return draw_scene(demo_scenes(6)[5])


@pytest.fixture(scope="module")
def expected(chat, picture):
    query, own = ls.Query(QUESTION, [picture]), [sample_id(0, 0)]
    answer = chat.ask([query], [ls.Guard()], max_new_tokens=LIMIT, sample_ids=own)[0]
    assert any(event.action == "rewritten" for event in answer.guard), "else there is nothing to show"
    return answer


def complete(client, picture, wanted, **more):
    more = {"max_tokens": LIMIT, **more}
    return client.chat.completions.create(
        model="scenes", messages=asking(picture), extra_body={"lvlm_saliency": wanted}, **more
    )


def streamed(chunks):
    """Text and moments of a stream, in their order."""
    found = []
    for chunk in chunks:
        choice = chunk.choices[0]
        extra = getattr(choice, "lvlm_saliency", None) or {}
        if "guard" in extra:
            assert choice.delta.content is None
            found.append(extra["guard"])
        elif choice.delta.content:
            found.append(choice.delta.content)
    return found


def text_of(found):
    return "".join(one for one in found if isinstance(one, str))


def test_events_stand_beside_the_text(client, picture, expected):
    for stream in (False, True):
        found = complete(client, picture, GUARD, stream=stream)
        chunks = list(found) if stream else []
        choice = chunks[-1].choices[0] if stream else found.choices[0]
        text = text_of(streamed(chunks)) if stream else choice.message.content
        assert text == expected.text
        events = choice.lvlm_saliency["events"]
        for told, event in zip(events, expected.guard, strict=True):
            assert (told["word"], told["action"], told["span"]) == (event.word, event.action, [*event.span])
            assert told["risk"] == pytest.approx(event.risk, rel=1e-3)
            assert [one["text"] for one in told["tries"]] == [one.text for one in event.tries]
        assert not any(isinstance(one, dict) for one in streamed(chunks)), "drafts come where they are asked for"


@pytest.mark.parametrize("more", [{}, {"explain": True, "risk": True}])
def test_rewriting_is_shown_as_it_happens_and_what_was_released_stays(client, picture, expected, more):
    found = streamed(complete(client, picture, {**GUARD, "drafts": True, **more}, stream=True))
    moments = [one for one in found if isinstance(one, dict)]
    assert text_of(found) == expected.text
    back = [one for one in moments if one["kind"] == "taken back"]
    tries = [one for event in expected.guard for one in event.tries]
    assert [(one["text"], one["word"]) for one in back] == [(one.text, one.word) for one in tries]
    assert [one["risk"] for one in back] == pytest.approx([one.risk for one in tries], rel=1e-3)
    settled = "".join(one["text"] for one in moments if one["kind"] == "settled")
    assert settled.strip() == expected.text
    told, settled, drafts = "", "", 0
    for one in found:
        if isinstance(one, str):
            told += one
            assert settled.lstrip().startswith(told), "no word is told before its sentence stands"
        elif one["kind"] == "settled":
            settled += one["text"]
        elif one["kind"] == "draft":
            drafts += 1
    assert drafts > len(back)
    assert isinstance(found[-1], str) or found[-1]["kind"] == "settled"
    first = next(at for at, one in enumerate(found) if isinstance(one, str))
    last = max(at for at, one in enumerate(found) if isinstance(one, dict))
    assert first < last, "sentences are told while later ones are drafted"


def test_stop_words_end_a_guarded_stream(client, picture, expected):
    stop = expected.text.split(". ")[1][:9]
    before = expected.text[: expected.text.index(stop)]
    for stream in (False, True):
        found = complete(client, picture, GUARD, stream=stream, stop=stop)
        assert (text_of(streamed(found)) if stream else found.choices[0].message.content) == before


def test_drafts_are_refused_where_there_are_none(server, picture):
    body = {"messages": asking(picture), "max_tokens": 4}
    for wanted, stream in ((GUARD, False), ({"methods": ["locore"]}, True), ({}, True), ({"methods": ["beam"]}, True)):
        answer = server.post(PATH, {**body, "stream": stream, "lvlm_saliency": {**wanted, "drafts": True}})
        assert refused(answer, 400, "drafts go with stream=true")["param"] == "lvlm_saliency.drafts"
    score = {"prompt": "Describe the image.", "answer": "A dog.", "lvlm_saliency": {"drafts": True}}
    refused(server.post("/v1/score", score), 400, "has no drafts")
