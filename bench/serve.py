"""A server under load: `python -m bench.serve [requests] [clients]`.

Mixed requests (streamed or not, greedy or sampled, methods, notes, stops, several choices) against the shipped model,
many clients at once. Every answer is compared with that of the same request sent alone. Then throughput at 16 waiting
clients against one at a time. Prints one JSON object.
"""

from __future__ import annotations

import base64
import io
import json
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil

import lvlm_saliency as ls
from lvlm_saliency.scenes import demo_scenes, draw_scene
from lvlm_saliency.serve.run import bound, prepared
from lvlm_saliency.serve.settings import ServeSettings

PATH = "/v1/chat/completions"
KINDS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "seed": 1},
    {"temperature": 1.0, "seed": 2, "n": 2, "stop": ["."]},
    {"logprobs": True, "top_logprobs": 2},
    {"stream": True},
    {"stream": True, "temperature": 0.8, "top_p": 0.9, "seed": 3},
    {"lvlm_saliency": {"explain": True, "risk": True}},
    {"stream": True, "lvlm_saliency": {"risk": True}},
    {"lvlm_saliency": {"methods": ["locore"]}},
    {"lvlm_saliency": {"methods": ["sgrs"]}, "seed": 4},
]


def texts(client: httpx.Client, body: dict[str, Any]) -> tuple[list[str], float]:
    """The texts of a request's choices, and its seconds."""
    begin = time.perf_counter()
    if not body.get("stream"):
        found = client.post(PATH, json=body).raise_for_status().json()
        return [choice["message"]["content"] for choice in found["choices"]], time.perf_counter() - begin
    text = ""
    with client.stream("POST", PATH, json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    text += choice["delta"].get("content") or ""
    return [text], time.perf_counter() - begin


def main(count: int, clients: int) -> dict[str, Any]:
    """The measurement."""
    urls = []
    for scene in demo_scenes(8):
        file = io.BytesIO()
        draw_scene(scene).save(file, "PNG")
        urls.append(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}")

    def body(number: int) -> dict[str, Any]:
        parts = [
            {"type": "image_url", "image_url": {"url": urls[number % 8]}},
            {"type": "text", "text": "Describe the image."},
        ]
        return {"messages": [{"role": "user", "content": parts}], "max_tokens": 32, **KINDS[number % len(KINDS)]}

    settings = ServeSettings(port=0, max_waiting=10 * clients, max_batch=16)
    with bound(settings) as listener:
        server = prepared(settings, ls.Chat.load("scenes", device="cpu"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        limits = httpx.Limits(max_connections=clients)
        with httpx.Client(base_url=url, timeout=600, limits=limits) as client, ThreadPoolExecutor(clients) as pool:
            different = 8 * len(KINDS) // 2  # numbers repeat their picture and kind after so many
            alone = {number: texts(client, body(number))[0] for number in range(min(different, count))}
            before = psutil.Process().memory_info().rss
            found = list(pool.map(lambda number: texts(client, body(number)), range(count)))
            after = psutil.Process().memory_info().rss
            wrong = [number for number, (said, _) in enumerate(found) if said != alone[number % different]]
            seconds = sorted(took for _, took in found)
            plain = {**body(0), "temperature": 1.0}
            begin = time.perf_counter()
            for seed in range(16):
                texts(client, {**plain, "seed": seed})
            single = time.perf_counter() - begin
            begin = time.perf_counter()
            with ThreadPoolExecutor(16) as sixteen:
                list(sixteen.map(lambda seed: texts(client, {**plain, "seed": seed}), range(64)))
            together = time.perf_counter() - begin
        server.should_exit = True
        thread.join(60)
    return {
        "requests": count,
        "clients": clients,
        "differ_from_alone": len(wrong),
        "first_different": wrong[:5],
        "median_seconds": round(statistics.median(seconds), 3),
        "p95_seconds": round(seconds[int(0.95 * (len(seconds) - 1))], 3),
        "memory_growth_mb": round((after - before) / 2**20, 1),
        "throughput_at_16_clients": round((64 / together) / (16 / single), 2),
    }


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    given = [int(argument) for argument in sys.argv[1:3]]
    print(json.dumps(main(*(given + [1000, 32][len(given) :]))))
