"""Five hundred requests that are none: each is refused in OpenAI's shape, in one line, and the server goes on."""

from __future__ import annotations

import copy
import json
import random
import socket

import httpx
import pytest

from .conftest import asking

COMPLETIONS, SCORE = "/v1/chat/completions", "/v1/score"
STRANGE = [
    None, True, -1, 0, 3, 2**70, 1e308, -0.5, "", "x", "\x1b[31m\x00\u202e", "é" * 3000, "data:",
    "data:image/png;base64,",
    "data:image/png;base64,AAAA", "http://127.0.0.1/", "file:///etc/passwd", "risk:risk=/etc/passwd", [], [[]], [None],
    ["x"] * 9, {}, {"type": "text"}, {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
    {"type": "image_url", "image_url": None}, {"url": {"url": "x"}}, {"role": "tool", "content": "x"},
]  # fmt: skip


def places(value, path=()):
    """Paths to everything in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def mutated(body, draw):
    """The body with one to three places replaced, removed, or doubled under another name."""
    body = copy.deepcopy(body)
    for _ in range(draw.randint(1, 3)):
        path = draw.choice([path for path in places(body) if path])
        parent = body
        for key in path[:-1]:
            parent = parent[key]
        how = draw.random()
        if how < 0.7:
            parent[path[-1]] = copy.deepcopy(draw.choice(STRANGE))
        elif how < 0.85:
            del parent[path[-1]]
        elif isinstance(parent, dict):
            parent[draw.choice(["x", "tools", "logit_bias", "audio", ""])] = draw.choice(STRANGE)
    return body


def broken(content, draw):
    """The bytes of a body, cut, changed, or put together wrongly."""
    at = draw.randrange(len(content))
    return draw.choice(
        [
            content[:at],
            content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :],
            content + content,
            b"[" * 100_000,
            b'{"messages":' * 2_000,
            b"\x00" * 50,
            b"\xff\xfe" + content,
        ]
    )


def is_refusal(answer):
    """Whether it is an error as clients of OpenAI's API read them, on one line."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert len(error["message"]) < 2_000
    assert error["message"].isprintable(), repr(error["message"])
    assert "Traceback" not in answer.text
    assert 400 <= answer.status_code < 500, answer.text


@pytest.fixture(scope="module")
def bodies(pictures):
    own = {"methods": ["locore"], "explain": True, "risk": True, "detectors": ["svar"]}
    talk = asking(pictures[0])
    whole = {"model": "scenes", "messages": [{"role": "system", "content": "Be short."}, *talk], "max_tokens": 1}
    whole |= {"temperature": 0.5, "top_p": 0.9, "n": 1, "seed": 1, "stop": ["."], "logprobs": True, "top_logprobs": 2}
    text = {"messages": talk, "answer": "There is a dog.", "lvlm_saliency": own}
    return [(COMPLETIONS, {**whole, "lvlm_saliency": own}), (SCORE, text)]


def test_five_hundred_malformed_requests(server, bodies, capfd):
    draw = random.Random(16)
    refused = served = 0
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for number in range(500):
            path, body = draw.choice(bodies)
            content = (
                json.dumps(mutated(body, draw)).encode() if number % 3 else broken(json.dumps(body).encode(), draw)
            )
            answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
            if answer.status_code == 200:
                served += 1  # what was changed is of no weight
            else:
                is_refusal(answer)
                refused += 1
        assert client.get("/health").json()["status"] == "ok"
    assert refused > 350
    assert served < 150
    assert '"trace"' not in capfd.readouterr().err, "nothing of it was a surprise"


def test_bytes_that_are_no_http(server):
    draw = random.Random(17)
    host, port = server.url.removeprefix("http://").split(":")
    head = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    wrong = [
        draw.randbytes(300),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Y: " + b"a" * 100_000 + b"\r\n\r\n",
        head + b"Content-Length: -5\r\n\r\n{}",
        head + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]
    for content in wrong:
        with socket.create_connection((host, int(port)), timeout=30) as one:
            one.sendall(content)
            one.shutdown(socket.SHUT_WR)
            found = b""
            while part := one.recv(65536):
                found += part
            # a long header that came whole is read; nothing of the rest is
            assert not found or found.split(b" ")[1][:1] == b"4" or b"X-Y" in content, content[:60]
    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"
