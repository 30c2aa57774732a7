"""What a server refuses, and that it goes on after anything that clients do."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import threading
import time

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lvlm_saliency.errors import InputError
from lvlm_saliency.serve.faults import Fault
from lvlm_saliency.serve.settings import ServeSettings, api_keys
from lvlm_saliency.serve.ways import way_of

from .conftest import PATH, asking, refused, running

HELLO = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("change", "words", "param"),
    [
        ({"messages": []}, "messages must be a list of 1 to", "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "whose role is one of", "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "a part is", "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": ""}]}, "last message is empty", None),
        ({"messages": [{"role": "user", "content": "a</s>b"}]}, "'</s>'", None),
        ({"messages": [{"role": "system", "content": "hi"}]}, "no message of a user", None),
        ({"temperature": 3}, "temperature must be a number from 0 to 2", "temperature"),
        ({"temperature": True}, "temperature must be", "temperature"),
        ({"top_p": 0}, "top_p must be above 0", "top_p"),
        ({"n": 0}, "n must be a whole number from 1 to 8", "n"),
        ({"n": 1.5}, "n must be a whole number", "n"),
        ({"max_tokens": 10**9}, "max_tokens must be a whole number from 1 to 1024", "max_tokens"),
        ({"seed": "x"}, "seed must be", "seed"),
        ({"stop": ["a"] * 5}, "stop must be", "stop"),
        ({"stop": ""}, "none of them empty", "stop"),
        ({"top_logprobs": 3}, "go with logprobs=true", "top_logprobs"),
        ({"tools": [{"type": "function"}]}, "tools is not served here", "tools"),
        ({"stop": 0}, "stop must be text", "stop"),
        ({"lvlm_saliency": {"methods": 0}}, "must be a list of at most 8 names", "lvlm_saliency.methods"),
        ({"lvlm_saliency": {"detectors": ["x" * 201]}}, "of at most 200 characters", "lvlm_saliency.detectors"),
        ({"frequency_penalty": 0.5}, "frequency_penalty is not served", "frequency_penalty"),
        ({"strange": 1}, "unknown field 'strange'", "strange"),
        ({"stream_options": {}}, "go with stream=true", "stream_options"),
        ({"lvlm_saliency": 3}, "must be an object", "lvlm_saliency"),
        ({"lvlm_saliency": {"explian": True}}, "unknown field 'explian'", "lvlm_saliency.explian"),
        ({"lvlm_saliency": {"methods": ["locroe"]}}, "did you mean 'locore'", "lvlm_saliency.methods"),
        ({"lvlm_saliency": {"methods": ["sgrs", "opera"]}}, "each decide the next token", "lvlm_saliency.methods"),
        ({"lvlm_saliency": {"methods": ["/etc/passwd.yaml"]}}, "unknown method", "lvlm_saliency.methods"),
        ({"lvlm_saliency": {"methods": ["sgrs:order=/etc/passwd"]}}, "cannot be set", "lvlm_saliency.methods"),
        ({"lvlm_saliency": {"methods": ["beam:num_beams=999"]}}, "", "lvlm_saliency.methods"),
        ({"lvlm_saliency": {"methods": ["beam"]}, "temperature": 1}, "draws nothing", "temperature"),
        ({"lvlm_saliency": {"detectors": ["nlll"]}}, "nlll", "lvlm_saliency.detectors"),
    ],
)
def test_wrong_fields_are_named(server, change, words, param):
    response = server.post(PATH, {"model": "scenes", "messages": HELLO, "max_tokens": 2, **change})
    assert refused(response, 400, words)["param"] == param


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.org/a.png", "fetches no addresses"),
        ("file:///etc/passwd", "given as a data URL"),
        ("data:image/png;base64,%%%", "no base64"),
        ("data:image/png,abc", "reads data:image/png;base64"),
        ("data:image/png;base64," + base64.b64encode(b"no picture").decode(), "not a picture"),
        ("data:image/png;base64,", "empty"),
        (None, "given as a data URL"),
    ],
)
def test_pictures_that_are_none(server, url, words):
    part = {"type": "image_url", "image_url": {"url": url}}
    response = server.post(PATH, {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "what"}]}]})
    assert refused(response, 400, words)["param"] == "messages[0].content[0].image_url"


@pytest.mark.parametrize("kind", ["video", "video_url", "input_video"])
def test_videos_are_refused_in_a_line(server, kind):
    part = {"type": kind, kind: {"url": "data:video/mp4;base64,AAAA"}}
    response = server.post(PATH, {"messages": [{"role": "user", "content": [part]}]})
    assert refused(response, 400, "videos are not served here")["param"] == "messages[0].content[0]"


def test_too_many_and_too_large_pictures(server, pictures):
    refused(server.post(PATH, {"messages": asking(pictures[0], "x", *[pictures[0]] * 8)}), 400, "at most 8 pictures")
    large = io.BytesIO()
    Image.new("1", (8000, 8000)).save(large, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(large.getvalue()).decode()}"
    body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
    refused(server.post(PATH, body), 400, "more than the limit")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"a":1,"a":2}', b"[" * 500, b'{"n": NaN}'])
def test_bodies_that_are_no_requests(server, content):
    headers = {"Content-Type": "application/json"}
    for path in (PATH, "/v1/score"):
        refused(httpx.post(f"{server.url}{path}", content=content, headers=headers), 400, "body")


def test_other_paths_methods_and_types(server):
    refused(httpx.get(f"{server.url}/nothing"), 404, "nothing at this path")
    refused(httpx.get(f"{server.url}{PATH}"), 405, "does not take that method")
    refused(httpx.post(f"{server.url}{PATH}", content=b"{}", headers={"Content-Type": "text/plain"}), 415, "send JSON")
    refused(httpx.get(f"{server.url}/reports/x/data"), 404, "no such report")
    refused(httpx.get(f"{server.url}/reports/x"), 404, "no such report")
    refused(httpx.get(f"{server.url}/v1/models/other"), 404, "no model")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["model", "messages", "n", "stop", "stream", "temperature", "max_tokens", "logprobs", "lvlm_saliency", "seed"]


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(body=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5))
def test_no_body_brings_it_down(server, body):
    response = server.post(PATH, {"max_tokens": 1, **body})
    assert response.status_code in (200, 400, 404)
    if response.status_code != 200:
        assert set(response.json()) == {"error"}


def test_a_prompt_beyond_the_context_is_refused_and_streams_fail_before_they_begin(server, pictures):
    messages = asking(pictures[0], "word " * 5000)
    for stream in (False, True):
        refused(server.post(PATH, {"messages": messages, "stream": stream}), 400, "context holds")


def test_body_limit_and_slow_clients(chat):
    with running(chat, max_body=1000, body_seconds=0.5) as server:
        refused(server.post(PATH, {"messages": [{"role": "user", "content": "x" * 2000}]}), 413, "longer than")

        def parts():
            yield b'{"messages": "' + b"x" * 2000

        headers = {"Content-Type": "application/json"}
        refused(httpx.post(f"{server.url}{PATH}", content=parts(), headers=headers), 413, "longer than")
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 500"
            slow.sendall(f"{head}\r\n\r\n{{".encode())
            slow.settimeout(30)
            assert b"408" in slow.recv(4096).split(b"\r\n")[0]
        with socket.create_connection((host, int(port))) as broken:
            broken.sendall(b"POST / HTTP/1.1\r\nnonsense\r\n\r\n")
            broken.settimeout(30)
            assert b"400" in broken.recv(4096).split(b"\r\n")[0]
        assert httpx.get(f"{server.url}/health").status_code == 200


def test_clients_that_send_and_read_nothing_are_let_go(chat, pictures):
    with running(chat, body_seconds=1.0) as server:
        host, port = server.url.removeprefix("http://").split(":")
        stuck = [socket.create_connection((host, int(port)), timeout=30) for _ in range(3)]
        stuck[1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-")
        # the third reads a whole answer, and begins another request
        stuck[2].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += stuck[2].recv(4096)
        stuck[2].sendall(b"GET")
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect((host, int(port)))
        deaf.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40)
        asked = server.post(PATH, {"messages": asking(pictures[0]), "max_tokens": 100})
        assert asked.status_code == 200, "who waits for an answer is none of these"
        for one in stuck:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(4096) == b""
            one.close()
        end = time.monotonic() + 30
        while server.server.server_state.connections:
            assert time.monotonic() < end, "a connection stays open"
            time.sleep(0.05)
        deaf.close()


def test_keys_open_all_but_page_and_health(chat, tmp_path, monkeypatch):
    (tmp_path / "keys").write_text("first\n\nsecond\n")
    with running(chat, keys=api_keys(tmp_path / "keys")) as server:
        for path in ("/v1/models", "/metrics"):
            refused(httpx.get(f"{server.url}{path}"), 401, "give a key")
        refused(server.post(PATH, {"messages": HELLO}), 401, "give a key")
        refused(httpx.get(f"{server.url}/v1/models", headers={"Authorization": "Basic first"}), 401, "give a key")
        with pytest.raises(openai.AuthenticationError):
            server.client("third").models.list()
        for key in ("first", "second"):
            assert server.client(key).models.list().data
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert httpx.get(f"{server.url}/").status_code == 200
    (tmp_path / "keys").write_text("\n")
    with pytest.raises(InputError, match="holds no API key"):
        api_keys(tmp_path / "keys")
    monkeypatch.setenv("LVLM_SALIENCY_API_KEY", " secret ")
    assert api_keys(None) == ("secret",)


def test_other_names_of_this_machine_are_refused_on_loopback(server):
    refused(httpx.get(f"{server.url}/v1/models", headers={"Host": "evil.example"}), 403, "localhost only")
    assert httpx.get(f"{server.url}/v1/models", headers={"Host": "localhost:1234"}).status_code == 200


def test_a_full_queue_says_when_to_come_again(chat, pictures):
    with running(chat, max_waiting=1, max_batch=1, retry_after=3) as server:
        found = []

        def ask(at):
            body = {"messages": asking(pictures[0]), "max_tokens": 60, "temperature": 1.0, "seed": at}
            found.append(server.post(PATH, body))

        threads = [threading.Thread(target=ask, args=(at,)) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = [response.status_code for response in found]
        assert set(statuses) == {200, 429}
        busy = next(response for response in found if response.status_code == 429)
        refused(busy, 429, "try again in 3 seconds")
        assert busy.headers["retry-after"] == "3"
        assert f"lvlm_saliency_rejected_total {statuses.count(429)}" in httpx.get(f"{server.url}/metrics").text


def test_a_client_that_goes_away_frees_its_place(chat, pictures):
    with running(chat, max_batch=1) as server:
        body = {"messages": asking(pictures[0]), "max_tokens": 900, "stop": ["never"], "stream": True}
        body |= {"temperature": 2.0, "seed": 1, "n": 8, "lvlm_saliency": {"methods": ["vcd"]}}
        with httpx.stream("POST", f"{server.url}{PATH}", json=body, timeout=60) as response:
            next(response.iter_lines())
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}{PATH}", json={**body, "stream": False}, timeout=0.3)
        end = time.monotonic() + 30
        while "lvlm_saliency_running 0" not in (text := httpx.get(f"{server.url}/metrics").text):
            assert time.monotonic() < end, text
            time.sleep(0.05)
        assert server.post(PATH, {"messages": HELLO, "max_tokens": 1}).status_code == 200


def test_stopping_lets_answers_end(chat, pictures):
    with running(chat) as server:
        body = {"messages": asking(pictures[0]), "max_tokens": 40}
        found = []
        thread = threading.Thread(target=lambda: found.append(server.post(PATH, body)))
        thread.start()
        while "running 1" not in httpx.get(f"{server.url}/metrics").text and thread.is_alive():
            time.sleep(0.005)
        server.server.should_exit = True
        thread.join(60)
    assert found[0].status_code == 200


def test_log_lines_are_json_without_texts_or_pictures(server, capfd, pictures):
    capfd.readouterr()
    server.post(PATH, {"messages": asking(pictures[0], "Is there a purple unicorn?"), "max_tokens": 2})
    server.post(PATH, {"messages": [{"role": "user", "content": "purple"}], "temperature": 9})
    time.sleep(0.1)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["status"] for line in lines] == [200, 400]
    assert "purple" not in json.dumps(lines)
    assert all("base64" not in json.dumps(line) and line["path"] == PATH for line in lines)


def test_defaults_bind_to_loopback():
    assert ServeSettings().on_loopback
    assert not ServeSettings(host="0.0.0.0").on_loopback


@pytest.mark.parametrize(
    "spec", ["guard:samples=1000", "guard:total_tries=1000", "guard:local_tries=33", "guard:samples=100000"]
)
def test_a_request_may_not_ask_for_more_work_than_its_share(spec):
    with pytest.raises(Fault, match=r"may be at most|must be a whole number from 1 to 1000"):
        way_of([spec], False, 1.0, 1.0)
    assert way_of(["guard:samples=32,total_tries=200,local_tries=32"], False, 1.0, 1.0).methods[0].samples == 32
