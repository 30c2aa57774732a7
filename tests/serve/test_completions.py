"""Chat completions, as the official client asks for them and reads them."""

from __future__ import annotations

import threading

import openai
import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.serve import decode
from lvlm_saliency.serve.rows import UNTRACEABLE

from .conftest import QUESTION, asking


def complete(client, messages, **more):
    return client.chat.completions.create(model="scenes", messages=messages, **{"max_tokens": 12, **more})


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def alone(chat, picture, text=QUESTION, **more):
    """The answer without a server."""
    return chat.ask([ls.Query(text, [picture])], **{"max_new_tokens": 12, **more})[0]


def test_models_and_health(server, client):
    assert [model.id for model in client.models.list()] == ["scenes"]
    assert client.models.retrieve("scenes").owned_by == "lvlm-saliency"
    assert server.client().models.list().data[0].lvlm_saliency["methods"] == ls.methods()
    import httpx

    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"


def test_greedy_answer_is_that_of_the_package(client, chat, pictures):
    found = complete(client, asking(pictures[0]))
    expected = alone(chat, pictures[0])
    assert found.choices[0].message.content == expected.text
    assert found.choices[0].finish_reason == expected.finish == "length"
    assert found.usage.completion_tokens == 12
    assert found.usage.prompt_tokens == chat.encode([expected.query])["input_ids"].shape[1]
    assert (found.object, found.model, found.choices[0].logprobs) == ("chat.completion", "scenes", None)


def test_streamed_is_the_same_text(client, pictures):
    whole = complete(client, asking(pictures[1]), max_tokens=64)
    chunks = list(
        complete(client, asking(pictures[1]), max_tokens=64, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert text_of(chunks) == whole.choices[0].message.content
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 5
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_several_pictures_system_and_turns(client, chat, pictures):
    talk = [
        {"role": "system", "content": "Answer briefly."},
        *asking(pictures[0], "Is there a dog in the image?", pictures[1]),
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": QUESTION},
    ]
    found = complete(client, talk).choices[0].message.content
    messages = [
        ls.Message("system", ["Answer briefly."]),
        ls.Message("user", [pictures[0], pictures[1], "Is there a dog in the image?"]),
        ls.Message("assistant", ["No."]),
        ls.Message("user", [QUESTION]),
    ]
    assert found == chat.ask([ls.Query(messages=messages)], max_new_tokens=12)[0].text
    assert complete(client, [{"role": "user", "content": "hello"}]).choices[0].message.content is not None


def test_stop_ends_before_its_words_also_in_pieces(client, pictures):
    whole = complete(client, asking(pictures[0]), max_tokens=40).choices[0].message.content
    word = whole.split()[5]
    stop = f" {word}"[1:4] if len(word) > 3 else word
    expected = whole[: whole.index(stop)]
    for streamed in (False, True):
        found = complete(client, asking(pictures[0]), max_tokens=40, stop=[stop, "never said"], stream=streamed)
        text = text_of(found) if streamed else found.choices[0].message.content
        assert text == expected
    assert complete(client, asking(pictures[0]), max_tokens=40, stop=stop).choices[0].finish_reason == "stop"
    straddling = whole[3:14]
    found = complete(client, asking(pictures[0]), max_tokens=40, stop=straddling)
    assert found.choices[0].message.content == whole[:3]


def test_logprobs_are_the_models_own(client, chat, pictures):
    found = complete(client, asking(pictures[0]), logprobs=True, top_logprobs=3).choices[0]
    answer = alone(chat, pictures[0])
    trace = chat.explain([answer])[0].trace
    entries = found.logprobs.content
    assert "".join(entry.token for entry in entries) == found.message.content
    torch.testing.assert_close(
        torch.tensor([entry.logprob for entry in entries]), trace.logprobs[0], rtol=1e-3, atol=1e-4
    )
    for entry in entries:
        assert len(entry.top_logprobs) == 3
        assert entry.top_logprobs[0].logprob == pytest.approx(entry.logprob), "greedy takes the most probable"
        assert bytes(entry.bytes).decode() == entry.token
    chunks = list(complete(client, asking(pictures[0]), logprobs=True, stream=True))
    streamed = [
        entry
        for chunk in chunks
        if chunk.choices and chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content
    ]
    assert [entry.logprob for entry in streamed] == pytest.approx([entry.logprob for entry in entries])


def test_seeded_choices_differ_and_come_again(client, pictures):
    def ask(seed, n):
        found = complete(client, asking(pictures[0]), temperature=1.5, seed=seed, n=n, max_tokens=16)
        return [choice.message.content for choice in found.choices]

    first = ask(7, 3)
    assert ask(7, 3) == first
    assert len(set(first)) > 1
    assert ask(7, 1) == first[:1], "a choice does not depend on how many there are"
    assert ask(8, 1) != first[:1]
    assert ask(-3, 1) == ask(-3, 1)


def test_answers_do_not_depend_on_batch_mates(server, client, pictures):
    """Requests of many kinds at once give what each gives alone."""
    kinds = [
        {"messages": asking(pictures[at % 3], ["Describe the image.", "What is in the image?"][at % 2]), **how}
        for at, how in enumerate(
            [
                {"temperature": 1.2, "seed": 1},
                {"temperature": 1.2, "seed": 2, "max_tokens": 5},
                {"temperature": 1.2, "seed": 3, "stop": ["a"]},
                {"max_tokens": 20},
                {"max_tokens": 7, "logprobs": True},
                {"temperature": 1.2, "seed": 4, "n": 2},
            ]
        )
    ]

    def ask(body):
        found = complete(client, **body)
        return [(choice.message.content, choice.finish_reason) for choice in found.choices]

    singly = [ask(body) for body in kinds]
    together = [None] * len(kinds)

    def work(at):
        together[at] = ask(kinds[at])

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(kinds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == singly


@pytest.mark.parametrize("name", ls.methods())
def test_every_method_by_name(client, chat, pictures, name):
    found = complete(client, asking(pictures[0]), max_tokens=5, extra_body={"lvlm_saliency": {"methods": [name]}})
    assert found.usage.completion_tokens <= 5
    assert isinstance(found.choices[0].message.content, str)


def test_a_methods_answer_is_that_of_the_package(client, chat, pictures):
    body = {"lvlm_saliency": {"methods": ["locore:beta=2.0", "sgrs:seed=3"]}}
    found = complete(client, asking(pictures[0]), extra_body=body)
    assert found.choices[0].message.content
    plain = complete(client, asking(pictures[0]), extra_body={"lvlm_saliency": {"methods": ["locore:beta=2.0"]}})
    assert plain.choices[0].message.content == alone(chat, pictures[0], methods=[ls.LocoRE(beta=2.0)]).text


def test_annotations_are_those_of_the_trace(client, chat, pictures):
    body = {"lvlm_saliency": {"explain": True, "risk": True, "detectors": ["nll"]}}
    found = complete(client, asking(pictures[0]), max_tokens=30, extra_body=body).choices[0]
    risk = ls.RiskModel.load(ls.chat.__path__[0] + "/../risk/scenes.safetensors")
    explained = chat.explain([alone(chat, pictures[0], max_new_tokens=30)], risk=risk)[0]
    notes = [entry.lvlm_saliency for entry in found.logprobs.content]
    assert len(notes) == len([token for token in explained.tokens if token != "</s>"])
    scores = explained.scores("image")
    for at, note in enumerate(notes):
        assert note["saliency"]["image"] == pytest.approx(scores[at], rel=1e-3)
        expected = explained.risk.of_objects[at]
        assert (note["risk"] is None) == (expected != expected)
        if note["risk"] is not None:
            assert note["risk"] == pytest.approx(expected, abs=1e-3)
            assert note["object"]
    assert any(note["object"] for note in notes)
    assert any(note["detectors"]["nll"] for note in notes)
    assert found.lvlm_saliency["report_url"].startswith("/reports/")


def test_annotated_stream_is_the_same_text_with_notes_on_every_token(client, pictures):
    body = {"lvlm_saliency": {"explain": True, "risk": True}}
    whole = complete(client, asking(pictures[0]), max_tokens=40, extra_body=body).choices[0]
    chunks = list(complete(client, asking(pictures[0]), max_tokens=40, extra_body=body, stream=True))
    assert text_of(chunks) == whole.message.content
    notes = [
        entry
        for chunk in chunks
        if chunk.choices and chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content
    ]
    assert [entry.token for entry in notes] == [entry.token for entry in whole.logprobs.content]
    for one, other in zip(notes, whole.logprobs.content, strict=True):
        assert one.lvlm_saliency["saliency"]["image"] == pytest.approx(
            other.lvlm_saliency["saliency"]["image"], rel=1e-3
        )
    final = chunks[-1].choices[0].lvlm_saliency["tokens"]
    assert [note["risk"] for note in final][: len(notes)] == pytest.approx(
        [entry.lvlm_saliency["risk"] for entry in whole.logprobs.content], nan_ok=True, abs=1e-3
    )
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 1, (
        "words come as they are written"  # in how many pieces depends on how busy the machine is
    )


def test_unknown_model_is_the_clients_not_found(client, pictures):
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'"):
        client.chat.completions.create(model="gpt", messages=asking(pictures[0]))


@pytest.mark.parametrize(
    "name", ["locore", "sgrs", "vcd", "memvr", "dola", "eah", "causalmm", "farsight", "pai", "tame"]
)
def test_reading_a_text_while_it_is_written_changes_nothing_of_it(client, pictures, monkeypatch, name):
    """The trace runs within the generation, between two of its steps: here between all of them."""
    monkeypatch.setattr(decode, "LIVE_SHARE", 1e9)
    body = {"lvlm_saliency": {"methods": [name], "explain": True}}
    whole = complete(client, asking(pictures[1]), extra_body={"lvlm_saliency": {"methods": [name]}}, seed=1)
    chunks = list(complete(client, asking(pictures[1]), extra_body=body, stream=True, seed=1))
    assert text_of(chunks) == whole.choices[0].message.content
    pieces = sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks)
    assert pieces > 5 or name in (*UNTRACEABLE, "sgrs")
    notes = [
        entry.lvlm_saliency["saliency"]["image"]
        for chunk in chunks
        if chunk.choices and chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content
    ]
    extra = chunks[-1].choices[0].lvlm_saliency
    assert extra.get("read_without", []) == [name] * (name in UNTRACEABLE)
    expected = [entry["saliency"]["image"] for entry in extra["tokens"]][: len(notes)]
    assert notes == pytest.approx(expected, rel=1e-3), "live notes are those of the finished text"
