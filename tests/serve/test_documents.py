"""The examples of docs/serve.md are run, and the npm client asks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


def test_curl_examples(server):
    if shutil.which("curl") is None:
        pytest.skip("no curl on PATH")
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) if block.startswith("curl")]
    commands = re.findall(r"curl .*?(?=^curl |\Z)", blocks[0], re.S | re.M)
    assert len(commands) == 3
    for command in commands:
        own = command.strip().replace("localhost:8000", server.url.removeprefix("http://"))
        done = subprocess.run(["bash", "-c", f"{own} --silent"], capture_output=True, text=True, check=True)
        assert "error" not in json.loads(done.stdout)


def test_python_example(server, pictures):
    from .conftest import data_url

    block = re.search(r"```python\n(from openai.*?)```", PAGE, re.S).group(1)
    names = {"data_url": data_url(pictures[0]), "print": lambda *_: None}
    exec(block.replace("http://localhost:8000", server.url), names)


def test_npm_client(server, pictures):
    """Where node finds the package openai (npm install openai; NODE_PATH tells it where)."""
    from .conftest import data_url

    node = shutil.which("node")
    if (
        node is None
        or subprocess.run([node, "-e", "require.resolve('openai')"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no node with the package openai")
    script = Path(__file__).with_name("client.cjs")
    done = subprocess.run([node, script, server.url, data_url(pictures[0])], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["whole"] == found["streamed"] != ""
    assert found["refused"] == [400, "temperature"]
    assert (found["models"], found["notes"]) == (["scenes"], True)
