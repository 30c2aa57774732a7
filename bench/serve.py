"""A server under load: `python -m bench.serve [requests] [clients]`, on the shipped model.

The server is a process of its own. Mixed requests (streamed or not, greedy or sampled, methods, notes, stops, several
choices) come from many clients at once; every answer is compared with that of the same request sent alone, and the
server's memory is watched. Then throughput at 16 waiting clients against one at a time. Then the server is killed
(SIGKILL) while it answers, and started again. Prints one JSON object. (`bench.beside` asks `transformers serve` too.)
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from lvlm_saliency.scenes import demo_scenes, draw_scene

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
PICTURES = 8
DIFFERENT = PICTURES * len(KINDS) // 2  # numbers repeat their picture and kind after so many
TOKENS = 32
TOGETHER = 16
ROUNDS = 3
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "HF_HUB_OFFLINE": "1"}


@dataclass
class Server:
    """A process that answers at `url`."""

    process: subprocess.Popen
    url: str

    @property
    def memory(self) -> float:
        """Resident, in MiB."""
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    @property
    def seconds(self) -> float:
        """Processor time so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system


@contextlib.contextmanager
def started(command: Sequence[str], port: int) -> Iterator[Server]:
    """A server of this command, when it answers, until the block ends."""
    process = subprocess.Popen([*command, "--port", str(port)], env=ENVIRONMENT, **QUIET)
    server = Server(process, f"http://localhost:{port}")
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with status {process.returncode}")
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{server.url}/health", timeout=5)
                break
            time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        process.wait(60)


OURS = (sys.executable, "-m", "lvlm_saliency", "serve", "--model", "scenes", "--max-waiting", "1000")


def urls() -> list[str]:
    """Drawn scenes as data URLs."""
    found = []
    for scene in demo_scenes(PICTURES):
        file = io.BytesIO()
        draw_scene(scene).save(file, "PNG")
        found.append(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}")
    return found


def asking(pictures: Sequence[str], number: int, **more: Any) -> dict[str, Any]:
    """The body of a request about one of the pictures."""
    parts = [
        {"type": "image_url", "image_url": {"url": pictures[number % PICTURES]}},
        {"type": "text", "text": "Describe the image."},
    ]
    return {"messages": [{"role": "user", "content": parts}], "max_tokens": TOKENS, **more}


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


def mixed(server: Server, pictures: Sequence[str], count: int, clients: int) -> dict[str, Any]:
    """Whether anything differs from alone, how long answers take, what memory does."""

    def body(number: int) -> dict[str, Any]:
        return asking(pictures, number, **KINDS[number % len(KINDS)])

    limits = httpx.Limits(max_connections=clients)
    with httpx.Client(base_url=server.url, timeout=600, limits=limits) as client, ThreadPoolExecutor(clients) as pool:
        alone = {number: texts(client, body(number))[0] for number in range(min(DIFFERENT, count))}
        memory = [server.memory]
        lock, done = threading.Lock(), itertools.count(1)

        def one(number: int) -> tuple[list[str], float]:
            found = texts(client, body(number))
            with lock:
                if next(done) % max(count // 10, 1) == 0:
                    memory.append(server.memory)
            return found

        begin = time.perf_counter()
        found = list(pool.map(one, range(count)))
        whole = time.perf_counter() - begin
    wrong = [number for number, (said, _) in enumerate(found) if said != alone[number % DIFFERENT]]
    seconds = sorted(took for _, took in found)
    return {
        "requests": count,
        "clients": clients,
        "differ_from_alone": len(wrong),
        "first_different": wrong[:5],
        "seconds": round(whole, 1),
        "median_seconds": round(statistics.median(seconds), 3),
        "p95_seconds": round(seconds[int(0.95 * (len(seconds) - 1))], 3),
        "memory_mb_at_each_tenth": [round(value) for value in memory],
    }


def rate(server: Server, bodies: Sequence[dict[str, Any]], clients: int) -> tuple[float, float]:
    """So many at a time: requests a second, and the server's processor seconds a request, which do not depend on what
    else the machine does."""
    with httpx.Client(base_url=server.url, timeout=600) as client, ThreadPoolExecutor(clients) as pool:
        begin, before = time.perf_counter(), server.seconds
        list(pool.map(lambda body: texts(client, body), bodies))
        return len(bodies) / (time.perf_counter() - begin), (server.seconds - before) / len(bodies)


def of_rounds(single: Sequence[tuple[float, float]], together: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Medians of the rounds."""
    (one, alone), (many, shared) = (
        [statistics.median(column) for column in zip(*rounds, strict=True)] for rounds in (single, together)
    )
    return {
        "per_second": {"1 client": round(one, 2), f"{TOGETHER} clients": round(many, 2)},
        "processor_seconds_each": {"1 client": round(alone, 4), f"{TOGETHER} clients": round(shared, 4)},
        "ratio": round(statistics.median(b[0] / a[0] for a, b in zip(single, together, strict=True)), 2),
        "ratio_of_processor_time": round(alone / shared, 2),
    }


def throughput(server: Server, pictures: Sequence[str]) -> dict[str, Any]:
    """At 16 clients against one, in turns."""
    bodies = [asking(pictures, 0, temperature=1.0, seed=seed) for seed in range(4 * TOGETHER)]
    rate(server, bodies[:TOGETHER], TOGETHER)
    rounds = [(rate(server, bodies[:TOGETHER], 1), rate(server, bodies, TOGETHER)) for _ in range(ROUNDS)]
    return of_rounds(*zip(*rounds, strict=True))


def killed(server: Server, pictures: Sequence[str], again: Callable[[], Any]) -> dict[str, Any]:
    """SIGKILL while it answers; what clients see, and whether a new one on the same port serves."""
    seen: list[str] = []

    def one(number: int) -> None:
        try:
            httpx.post(f"{server.url}{PATH}", json=asking(pictures, number, max_tokens=500, stop=["never"]), timeout=60)
            seen.append("an answer")
        except httpx.TransportError as error:
            seen.append(type(error).__name__)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    server.process.send_signal(signal.SIGKILL)
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    waited = time.perf_counter() - begin
    with again() as other, httpx.Client(base_url=other.url, timeout=60) as client:
        served = bool(texts(client, asking(pictures, 0))[0][0])
    return {"clients_saw": sorted(seen), "after_seconds": round(waited, 2), "served_again": served}


PARTS = ("mixed", "throughput", "killed")


def main(given: argparse.Namespace) -> dict[str, Any]:
    """The measurement."""
    pictures, port = urls(), given.port
    parts = given.part or PARTS
    found: dict[str, Any] = {}
    with started(OURS, port) as server:
        if "mixed" in parts:
            found["mixed"] = mixed(server, pictures, given.requests, given.clients)
        if "throughput" in parts:
            found["throughput"] = throughput(server, pictures)
        if "killed" in parts:
            found["killed"] = killed(server, pictures, lambda: started(OURS, port))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=re.sub(r"\s+", " ", __doc__ or ""))
    parser.add_argument("requests", type=int, nargs="?", default=1000)
    parser.add_argument("clients", type=int, nargs="?", default=32)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--part", action="append", choices=PARTS, help="repeat for several; default all")
    print(json.dumps(main(parser.parse_args()), indent=1))
