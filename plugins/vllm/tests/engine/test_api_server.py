"""The OpenAI-compatible server with the plug-in in it: eight clients at once, streamed answers, refusals, a risk."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from lvlm_saliency_vllm.grounding import CHOSEN, feature_names


@pytest.fixture(scope="module")
def server(reference, tmp_path_factory):
    """Its address; it has a risk file, made here, that reads what is known as a token is chosen."""
    folder = tmp_path_factory.mktemp("server")
    write_risk(folder / "risk.safetensors")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", reference.model, "--port", port]
    command += ["--served-model-name", "scenes", "--dtype", "float32", "--enforce-eager", "--max-model-len", 256]
    command += ["--max-num-seqs", 8, "--block-size", 32, "--gpu-memory-utilization", 0.1, "--host", "127.0.0.1"]
    settings = {"VLLM_PLUGINS": "lvlm_saliency", "LVLM_SALIENCY_RISK": str(folder / "risk.safetensors")}
    own = {
        key: value
        for key, value in os.environ.items()
        if key not in ("VLLM_ENABLE_V1_MULTIPROCESSING", "TRITON_INTERPRET")
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(one) for one in command], env={**own, **settings}, stdout=log, stderr=log)
        try:
            yield _ready(f"http://127.0.0.1:{port}", process, folder / "log")
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _ready(address: str, process: subprocess.Popen, log) -> str:
    end = time.monotonic() + 900
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(address + "/health", timeout=5).status_code == 200:
                return address
        except httpx.TransportError:
            time.sleep(1)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-3000:]}")


def write_risk(path) -> None:
    """A logistic risk on all layers of the shipped model, in the format of lvlm_saliency."""
    import numpy as np
    from safetensors.numpy import save_file

    layers = list(range(6))
    names = [name for group in CHOSEN for name in feature_names(group, layers)]
    width, random = len(names), np.random.default_rng(0)
    arrays = {"fill": np.zeros(width), "mean": np.zeros(width), "scale": np.ones(width)}
    arrays |= {"weight": random.normal(size=width) * 0.05, "bias": np.zeros(1), "calibration": np.array([1.0, 0.0])}
    head = {"format": 1, "groups": CHOSEN, "layers": layers, "features": names, "kind": "logistic", "about": {}}
    save_file({**arrays, "objects": np.array([42])}, path, metadata={"lvlm_saliency_risk": json.dumps(head)})


def ask(server, reference, number=0, name="plain", *, grounding=True, timeout=300, **settings):
    """One chat about a picture."""
    picture = base64.b64encode((reference.folder / f"{number}.png").read_bytes()).decode()
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        {"type": "text", "text": "Describe the image."},
    ]
    extra = {**reference.extra(name), **({"grounding": True} if grounding else {}), **settings.pop("xargs", {})}
    body = {"model": "scenes", "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 72}
    body |= {"add_special_tokens": True, "vllm_xargs": extra, **settings}
    return httpx.post(server + "/v1/chat/completions", json=body, timeout=timeout)


def test_eight_clients_of_all_settings(server, reference):
    every = [(number, name) for name in reference.settings for number in range(reference.pictures)]
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda one: ask(server, reference, *one).json(), every))
    for (number, name), answer in zip(every, answers, strict=True):
        entries = answer["choices"][0]["grounding"]
        assert [entry["token_id"] for entry in entries] == reference.scenes["tokens"][name][number]
        assert all(0 < entry["risk"] < 1 for entry in entries)
        assert [entry["names_object"] for entry in entries] == [entry["token_id"] == 42 for entry in entries]
        shares = [
            sum(entry["attention"][region] for region in ("system", "image", "prompt", "output")) for entry in entries
        ]
        if name != "unnormalised":
            assert shares == pytest.approx([1.0] * len(shares), abs=1e-4)


def test_a_stream_gives_each_entry_with_its_token(server, reference):
    whole = ask(server, reference, 1, "strong").json()["choices"][0]["grounding"]
    events = ask(server, reference, 1, "strong", stream=True).text.split("\n\n")
    chunks = [json.loads(one.removeprefix("data: ")) for one in events if one.startswith("data: {")]
    entries = [entry for chunk in chunks for choice in chunk["choices"] for entry in choice.get("grounding", [])]
    assert [entry.pop("risk") for entry in entries] == pytest.approx([entry.pop("risk") for entry in whole], rel=1e-6)
    assert entries == whole
    assert events[-2] == "data: [DONE]"
    assert "token_ids" not in json.dumps(chunks)


def test_text_completions_and_plain_requests(server, reference):
    body = {"model": "scenes", "prompt": "USER: Describe the image. ASSISTANT:", "max_tokens": 8, "temperature": 0}
    given = {**body, "vllm_xargs": {"grounding": 1}}
    choice = httpx.post(server + "/v1/completions", json=given, timeout=300).json()["choices"][0]
    assert len(choice["grounding"]) == 8
    assert choice["grounding"][0]["attention"]["image"] == 0
    assert "grounding" not in httpx.post(server + "/v1/completions", json=body, timeout=300).json()["choices"][0]
    assert httpx.get(server + "/v1/lvlm_saliency").json() == {"problem": "", "layers": [0, 1, 2, 3, 4, 5], "risk": True}


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"xargs": {"locore_beta": -1}}, "locore_beta must be a number from 0"),
        ({"xargs": {"locore_beta": 1, "locore_layers": [9]}}, "locore_layers names [9]"),
        ({"xargs": {"locore_bet": 1}}, "is no setting of this plug-in"),
        ({"min_tokens": 3}, "does not go with min_tokens"),
        ({"n": 2, "temperature": 1}, "n=1"),
    ],
)
def test_what_cannot_be_served_is_a_400_and_the_server_goes_on(server, reference, settings, line):
    answer = ask(server, reference, **settings)
    assert answer.status_code == 400
    assert line in answer.json()["error"]["message"]
    assert ask(server, reference, max_tokens=2).status_code == 200
