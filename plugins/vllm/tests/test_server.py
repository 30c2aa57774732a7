"""The server's middleware around a server that answers as vLLM does: what is asked of it, what comes back."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
import torch

from lvlm_saliency_vllm import server
from lvlm_saliency_vllm.grounding import CHOSEN, GROUPS
from lvlm_saliency_vllm.readings import READ, Pending, Store

TOKENS = [7, 5, 9]
OWNER = torch.tensor([0, 1, 2], dtype=torch.int8)


class Engine:
    """Holds the readings of the request that is being answered."""

    def __init__(self):
        self.store = Store()
        self.vllm_config = SimpleNamespace(
            parallel_config=SimpleNamespace(data_parallel_size=1),
            model_config=SimpleNamespace(logprobs_mode="raw_logprobs"),
        )

    def write(self, key: str, t: int) -> None:
        """A worker has chosen token t."""
        if t == 0:
            self.store.begin(key, OWNER)
        row = {0: torch.full((len(READ),), t / 8)}
        self.store.add(Pending(key, t, OWNER, layers=row), torch.tensor(t + 0.5))

    async def collective_rpc(self, method, args):
        keys, starts, take = args
        read = self.store.take if take else self.store.read
        return [[read(key, start) for key, start in zip(keys, starts, strict=True)]]


class App:
    """Answers like vLLM's chat and text completions, and remembers what it was asked."""

    def __init__(self, status: int = 200, hide: int = 0):
        self.engine, self.asked, self.status, self.hide = Engine(), None, status, hide
        serving = server.Serving(self.engine, "", [0], SimpleNamespace())
        self.state = SimpleNamespace(lvlm_saliency=serving)

    async def __call__(self, scope, receive, send):
        body = (await receive())["body"]
        self.asked = json.loads(body)
        assert dict(scope["headers"])[b"content-length"] == str(len(body)).encode()
        if not (key := (self.asked.get("vllm_xargs") or {}).get("grounding")):
            return await self.answer(send, b"application/json", [body])
        if self.status != 200:
            return await self.answer(send, b"application/json", [b'{"error":1}'])
        chat = "messages" in self.asked
        parts = []
        for t, token in enumerate(TOKENS):
            self.engine.write(key, t)
            odds = {"content": [{"logprob": -t}]} if chat else {"token_logprobs": [-t]}
            parts.append({"index": 0, "token_ids": [token], "logprobs": odds})
        if self.asked.get("stream"):
            parts[-1]["finish_reason"] = "stop"
            chunks = [{"choices": [one]} for one in parts]
            events = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in [{"choices": []}, *chunks]]
            whole = b"".join([*events, b"data: [DONE]\n\n"])
            return await self.answer(send, b"text/event-stream", [whole[i : i + 50] for i in range(0, len(whole), 50)])
        kept = parts[: len(parts) - self.hide]
        odds = {"content": [{"logprob": -t} for t in range(len(kept))]}
        odds = odds if chat else {"token_logprobs": [-t for t in range(len(kept))]}
        choice = {"index": 0, "token_ids": TOKENS[: len(kept)], "logprobs": odds, "finish_reason": "stop"}
        answer = {"choices": [choice], "usage": {"completion_tokens": len(TOKENS)}, "prompt_token_ids": [1]}
        return await self.answer(send, b"application/json", [json.dumps(answer).encode()])

    async def answer(self, send, kind, parts):
        size = str(sum(map(len, parts))).encode()
        headers = [(b"content-type", kind), (b"content-length", size)]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def ask(app: App, body: dict, path: str = "/v1/chat/completions") -> tuple[int, bytes]:
    """One request through the middleware: status and body."""
    data, sent = json.dumps(body).encode(), []
    half = len(data) // 2
    messages = [
        {"type": "http.request", "body": data[:half], "more_body": True},
        {"type": "http.request", "body": data[half:], "more_body": False},
    ]

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(dict(message))

    headers = [(b"content-length", str(len(data)).encode()), (b"authorization", b"x")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "app": app}
    asyncio.run(server.GroundingMiddleware(app)(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    length = dict(sent[0]["headers"]).get(b"content-length")
    if b"json" in dict(sent[0]["headers"])[b"content-type"]:
        assert length == str(len(body)).encode()
    return sent[0]["status"], body


CHAT = {"messages": [], "vllm_xargs": {"locore_beta": 1, "grounding": True}}
TEXT = {"prompt": "x", "vllm_xargs": {"grounding": 1}}


@pytest.mark.parametrize(("body", "path"), [(CHAT, "/v1/chat/completions"), (TEXT, "/v1/completions")])
def test_an_answer_carries_the_grounding_and_nothing_else_that_was_not_asked_for(body, path):
    app = App()
    status, answer = ask(app, body, path)
    content = json.loads(answer)
    choice = content["choices"][0]
    assert status == 200
    assert [entry["token_id"] for entry in choice["grounding"]] == TOKENS
    assert [entry["entropy"] for entry in choice["grounding"]] == [0.5, 1.5, 2.5]
    assert [entry["logprob"] for entry in choice["grounding"]] == [0, -1, -2]
    assert choice["grounding"][2]["attention"]["image"] == 0.25
    assert choice["logprobs"] is None
    assert "token_ids" not in choice
    assert "prompt_token_ids" not in content
    assert app.asked["return_token_ids"] is True
    assert len(app.asked["vllm_xargs"]["grounding"]) == 32
    assert not app.engine.store.texts  # taken


def test_what_the_client_asked_for_itself_stays():
    body = {**CHAT, "logprobs": True, "top_logprobs": 3, "return_token_ids": True}
    app = App()
    choice = json.loads(ask(app, body)[1])["choices"][0]
    assert app.asked["top_logprobs"] == 3
    assert choice["token_ids"] == TOKENS
    assert len(choice["logprobs"]["content"]) == 3


def test_a_stream_carries_each_token_with_its_chunk():
    app = App()
    _, answer = ask(app, {**CHAT, "stream": True})
    *events, done, rest = answer.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    chunks = [json.loads(event.removeprefix(b"data: "))["choices"] for event in events]
    assert [choice["grounding"][0]["token_id"] for choices in chunks for choice in choices] == TOKENS
    assert all(len(choice["grounding"]) == 1 for choices in chunks for choice in choices)
    assert not app.engine.store.texts


@pytest.mark.parametrize(
    "body", [{"messages": []}, {"messages": [], "vllm_xargs": {"locore_beta": 1}}, {"messages": "grounding"}]
)
def test_other_requests_pass_untouched(body):
    app = App()
    assert json.loads(ask(app, body)[1]) == body == app.asked


def test_tokens_that_the_server_hides_are_an_error_and_no_shifted_readings():
    choice = json.loads(ask(App(hide=1), CHAT)[1])["choices"][0]
    assert "hid some of the tokens" in choice["grounding"]["error"]


def test_an_answer_that_failed_passes_as_it_is():
    assert ask(App(status=404), CHAT) == (404, b'{"error":1}')


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"echo": True}, "echo"),
        ({"tools": [{}]}, "tools"),
        ({"prompt": ["a", "b"]}, "one prompt"),
        ({"use_beam_search": True}, "beam search"),
    ],
)
def test_requests_that_are_refused(change, line):
    app = App()
    status, answer = ask(app, {**TEXT, **change}, "/v1/completions")
    assert status == 400
    assert line in json.loads(answer)["error"]["message"]
    assert app.asked is None


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"data": 2}, "data-parallel"),
        ({"mode": "processed_logprobs"}, "raw_logprobs"),
        ({"args": {"reasoning_parser": "x"}}, "parser hides"),
        ({"problem": "no attention layer"}, "no attention layer"),
    ],
)
def test_servers_that_give_no_grounding(parts, line):
    app = App()
    config = app.engine.vllm_config
    config.parallel_config.data_parallel_size = parts.get("data", 1)
    config.model_config.logprobs_mode = parts.get("mode", "raw_logprobs")
    args = SimpleNamespace(**parts.get("args", {}))
    app.state.lvlm_saliency = server.Serving(app.engine, parts.get("problem", ""), [0], args)
    status, answer = ask(app, CHAT)
    assert (status, app.asked) == (400, None)
    assert line in json.loads(answer)["error"]["message"]


@pytest.mark.parametrize(("groups", "counts"), [(CHOSEN, [1, 1, 1]), (GROUPS, [0, 1, 2])])
def test_every_entry_has_its_risk_where_the_server_has_a_model(tmp_path, monkeypatch, groups, counts):
    """With the token's own chunk, or with the next where the risk reads the row of the token itself."""
    pytest.importorskip("lvlm_saliency")
    from test_risk_file import model

    model("logistic", groups, layers=(0,)).save(tmp_path / "risk.safetensors")
    monkeypatch.setenv(server.RISK, str(tmp_path / "risk.safetensors"))
    whole = json.loads(ask(App(), CHAT)[1])["choices"][0]["grounding"]
    assert [entry["names_object"] for entry in whole] == [False, True, False]  # token 5 is an object's
    assert all(0 < entry["risk"] < 1 for entry in whole)
    events = ask(App(), {**CHAT, "stream": True})[1].split(b"\n\n")[1:-2]
    streamed = [json.loads(event[6:])["choices"][0]["grounding"] for event in events]
    assert [len(one) for one in streamed] == counts
    # A causal risk: the rest of the text changes nothing.
    for entry, same in zip([entry for one in streamed for entry in one], whole, strict=True):
        assert entry.pop("risk") == pytest.approx(same.pop("risk"), rel=1e-9)
        assert entry == same
