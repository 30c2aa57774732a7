"""A server that is killed while it answers: clients are told at once, and one that is started again serves."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import openai
import pytest

from .conftest import asking


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def process(port):
    command = [sys.executable, "-m", "lvlm_saliency", "serve", "--model", "scenes", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as found:
        try:
            end = time.monotonic() + 120
            while True:
                assert found.poll() is None, "the server ended"
                assert time.monotonic() < end, "the server never answered"
                try:
                    httpx.get(f"http://localhost:{port}/health", timeout=5)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield found
        finally:
            found.kill()


@pytest.mark.slow
def test_killed_and_started_again(pictures):
    port = free_port()
    client = openai.OpenAI(base_url=f"http://localhost:{port}/v1", api_key="none", max_retries=0, timeout=60)

    def ask(**more):
        return client.chat.completions.create(model="scenes", messages=asking(pictures[0]), **more)

    seen = []

    def wait():
        # beams as a method that searches: nothing of it is told before it is through
        try:
            ask(max_tokens=900, n=8, extra_body={"lvlm_saliency": {"methods": ["beam"]}})
        except openai.APIConnectionError as error:
            seen.append(error)

    with process(port) as server:
        whole = ask(max_tokens=8).choices[0].message.content
        stream = ask(max_tokens=900, n=8, temperature=2.0, seed=1, stream=True)
        next(iter(stream))
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        server.send_signal(signal.SIGKILL)
        # the client's own error, or that of the transport below it, as a stream has already begun
        with pytest.raises((openai.APIConnectionError, httpx.TransportError)):
            for _ in stream:
                pass
        thread.join(30)
        assert not thread.is_alive(), "nobody waits for a server that is gone"
        assert len(seen) == 1
        with pytest.raises(openai.APIConnectionError):
            ask(max_tokens=2)
    with process(port):
        assert ask(max_tokens=8).choices[0].message.content == whole
    client.close()
