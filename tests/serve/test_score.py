"""Texts that others wrote: the same notes, and reports that open."""

from __future__ import annotations

import httpx
import pytest

import lvlm_saliency as ls

from .conftest import QUESTION, asking, data_url

TEXT = "There is a dog and a cat."


def test_notes_are_those_of_the_package(server, chat, pictures):
    body = {"messages": asking(pictures[0]), "answer": TEXT, "lvlm_saliency": {"risk": True, "detectors": ["nll"]}}
    found = server.post("/v1/score", body).json()
    explained = chat.explain(chat.given([ls.Query(QUESTION, [pictures[0]])], [TEXT]))[0]
    choice = found["choices"][0]
    assert (found["object"], choice["message"]["content"], choice["finish_reason"]) == ("score", TEXT, "stop")
    entries = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == TEXT
    assert [entry["logprob"] for entry in entries] == pytest.approx(explained.trace.logprobs[0].tolist(), rel=1e-3)
    scores = explained.scores("output")[1:]
    assert [entry["lvlm_saliency"]["saliency"]["output"] for entry in entries][1:] == pytest.approx(scores, rel=1e-3)
    objects = [entry["lvlm_saliency"]["object"] for entry in entries if entry["lvlm_saliency"]["object"]]
    assert objects == ["dog", "cat"]


def test_prompt_and_picture_in_short(server, pictures):
    long = server.post("/v1/score", {"messages": asking(pictures[0]), "answer": TEXT}).json()
    short = server.post("/v1/score", {"prompt": QUESTION, "image": data_url(pictures[0]), "answer": TEXT}).json()
    assert short["choices"][0]["logprobs"] == long["choices"][0]["logprobs"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": ""}, "answer must be text"),
        ({"answer": "Quetzalcoatlus!"}, "tokenizer does not have"),
        ({"prompt": 3}, "prompt must be text"),
        ({"messages": [], "prompt": "x"}, "goes without messages"),
        ({"lvlm_saliency": {"methods": ["sgrs"]}}, "edit attention"),
        ({"images": "x"}, "images must be a list"),
    ],
)
def test_wrong_requests_are_named(server, change, words):
    response = server.post("/v1/score", {"prompt": QUESTION, "answer": TEXT, **change})
    assert response.status_code == 400
    assert words in response.json()["error"]["message"]


def test_reports_are_self_contained_pages_one_or_several_together(server, pictures):
    names = []
    for text in (TEXT, "There is a dog."):
        found = server.post("/v1/score", {"messages": asking(pictures[0]), "answer": text}).json()
        names.append(found["choices"][0]["lvlm_saliency"]["report_url"].removeprefix("/reports/"))
    page = httpx.get(f"{server.url}/reports/{names[0]}.html")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.text
    assert QUESTION in page.text
    together = httpx.get(f"{server.url}/reports/{','.join(names)}.html").text
    assert len(together) > len(page.text)
    data = httpx.get(f"{server.url}/reports/{names[1]}/data").json()
    assert data["runs"][0]["tokens"]
    many = ",".join(names * 10)
    assert httpx.get(f"{server.url}/reports/{many}").status_code == 400


def test_old_reports_are_forgotten(chat, pictures):
    from lvlm_saliency.serve.reports import Reports

    reports = Reports(2)
    explained = chat.explain(chat.given([ls.Query(QUESTION, [pictures[0]])], [TEXT]))[0]
    names = [reports.keep(explained) for _ in range(3)]
    reports.case(names[2])
    with pytest.raises(ls.errors.LvlmSaliencyError, match="no such report"):
        reports.case(names[0])


def test_metrics_count(server):
    before = httpx.get(f"{server.url}/metrics").text
    server.post("/v1/score", {"prompt": QUESTION, "answer": TEXT})
    after = httpx.get(f"{server.url}/metrics").text
    for line in (
        "# TYPE lvlm_saliency_requests_total counter",
        "lvlm_saliency_waiting 0",
        'batch_size_bucket{le="+Inf"}',
    ):
        assert line in after
    count = "lvlm_saliency_request_seconds_count "
    number = [int(text.split(count)[1].split()[0]) for text in (before, after)]
    assert number[1] == number[0] + 1
