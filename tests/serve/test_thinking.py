"""A served model that thinks: its reports, its page and the notes on its tokens know thinking and answer."""

from __future__ import annotations

import json
import re

import httpx

import lvlm_saliency as ls
from lvlm_saliency.chat import Chat

from .conftest import asking, running


def test_regions_of_a_model_that_thinks(pictures):
    model, processor = ls.load_model("scenes")
    # Its first sentence counts as thinking: the prompt opens it, and a full stop closes it.
    processor.tokenizer.response_template = {"fields": {"thinking": {"open": "ASSISTANT:", "close": "."}}}
    with running(Chat(model, processor)) as server:
        told = httpx.get(f"{server.url}/v1/models").json()["data"][0]["lvlm_saliency"]
        assert told["thinks"] is True
        body = {
            "model": "scenes", "messages": asking(pictures[0]), "max_tokens": 40, "logprobs": True,
            "lvlm_saliency": {"explain": True, "risk": True},
        }  # fmt: skip
        choice = server.post("/v1/chat/completions", body).json()["choices"][0]
        notes = [entry["lvlm_saliency"] for entry in choice["logprobs"]["content"]]
        words = [entry["token"].strip() for entry in choice["logprobs"]["content"]]
        behind = words.index(".") + 1
        assert set(notes[0]["saliency"]) == {"output", "previous", "image", "prompt", "system", "thinking", "answer"}
        assert all(note["risk"] is None for note in notes[:behind])
        assert any(note["risk"] is not None for note in notes[behind:])
        assert notes[behind]["saliency"]["thinking"] is not None
        assert notes[behind - 1]["saliency"]["answer"] is None
        report = choice["lvlm_saliency"]["report_url"]
        address = report if report.startswith("http") else f"{server.url}{report}"
        for url in (f"{server.url}/", address):
            data = shown(url)
            assert data["regions"][-2:] == ["thinking", "answer"]
        assert [part[0] for part in data["cases"][0]["runs"][0]["parts"]][:3] == ["thinking", "mark", "answer"]


def test_one_that_does_not_has_no_such_regions(server):
    assert server.client().models.list().data[0].lvlm_saliency["thinks"] is False
    assert "thinking" not in shown(f"{server.url}/")["regions"]


def shown(url):
    """The data of a page."""
    return json.loads(re.search(r'id="data"[^>]*>(.*?)</script>', httpx.get(url).text, re.DOTALL).group(1))
