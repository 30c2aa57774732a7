"""A real server on a free port, on the shipped model, for every test of a module; and its page in a browser."""

from __future__ import annotations

import base64
import io
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

import lvlm_saliency as ls
from lvlm_saliency.scenes import demo_scenes, draw_scene
from lvlm_saliency.serve.run import bound, prepared
from lvlm_saliency.serve.settings import ServeSettings
from report.browser import browser, complaints, requests, wait_until

from .in_browser import LOCAL, look

PATH = "/v1/chat/completions"
QUESTION = "Describe the image."


@dataclass
class Running:
    """A server that answers."""

    url: str
    chat: Any
    server: Any

    def client(self, key="none", **more) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=120, **more)

    def post(self, path, body, **more) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=120, **more)


@contextmanager
def running(chat, **settings):
    """A server with these settings, in a thread, until the block ends."""
    chosen = ServeSettings(model="scenes", port=0, **settings)
    with bound(chosen) as listener:
        server = prepared(chosen, chat)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        end = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < end, "the server never started"
            time.sleep(0.01)
        try:
            yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", chat, server)
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def chat():
    return ls.Chat.load("scenes", device="cpu")


@pytest.fixture(scope="module")
def server(chat):
    with running(chat) as found:
        yield found


@pytest.fixture(scope="module")
def client(server):
    with server.client() as found:
        yield found


@pytest.fixture(scope="session")
def pictures():
    return [draw_scene(scene) for scene in demo_scenes(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(tmp_path_factory, folder):
    with browser(tmp_path_factory.mktemp("profile")) as found:
        found.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        yield found


@pytest.fixture
def page(driver, server):
    """The page, just opened; whatever a test does, nothing is asked for elsewhere and the console stays empty."""
    look(driver, 1280, 900, "light")
    driver.get(f"{server.url}/")
    wait_until(driver, "return document.body.dataset.ready === 'true'")
    yield driver
    assert [url for url in requests(driver) if not url.startswith((*LOCAL, server.url))] == []
    assert complaints(driver) == []


def data_url(picture) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def asking(picture, text=QUESTION, *more):
    """The messages of one question about a picture."""
    parts = [{"type": "image_url", "image_url": {"url": data_url(one)}} for one in (picture, *more)]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def refused(response, status, words):
    """An error in OpenAI's shape, without anything of the server's inside."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert words in error["message"]
    assert "Traceback" not in response.text
    return error
