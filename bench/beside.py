"""This server beside `transformers serve`: `python -m bench.beside [pairs]`, on the shipped model, methods off.

Both serve the model in float32, as processes of their own. One client asks both the same greedy question, one after
the other, and who is first changes from pair to pair: whatever else the machine does meets both. Then 16 clients ask
each of them, in turns. Ratios are those of this server to the other; intervals (95 %) redraw pairs. Prints one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.serve import OURS, PICTURES, ROUNDS, TOGETHER, Server, asking, of_rounds, rate, started, texts, urls
from lvlm_saliency.model.checkpoints import SCENES

THEIRS = (str(Path(sys.executable).with_name("transformers")), "serve", "--device", "cpu", "--dtype", "float32")
DRAWS = 2000


def one(client: httpx.Client, server: Server, body: dict[str, Any]) -> tuple[str, float, float]:
    """An answer's text, seconds, and the server's processor seconds."""
    before = server.seconds
    said, took = texts(client, body)
    return said[0], took, server.seconds - before


def compared(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Seconds of pairs, `[n, 2]` each (on the clock, of processor time): medians, means, and their ratios."""
    draws = np.random.default_rng(0).integers(0, len(ours), (DRAWS, len(ours)))

    def told(ratio: Any, ratios: Any) -> list[float]:
        return [round(float(value), 3) for value in (ratio, *np.percentile(ratios, [2.5, 97.5]))]

    clock, spent = (np.stack([ours[:, at], theirs[:, at]]) for at in (0, 1))
    medians, means = np.median(clock, axis=1), spent.mean(axis=1)
    drawn_medians = np.median(clock[:, draws], axis=2)
    drawn_means = spent[:, draws].mean(axis=2)  # the system counts in hundredths of a second, so no medians
    return {
        "median_seconds": [round(float(value), 4) for value in medians],
        "processor_seconds": [round(float(value), 4) for value in means],
        "ratio_of_seconds": told(medians[0] / medians[1], drawn_medians[0] / drawn_medians[1]),
        "ratio_of_processor_seconds": told(means[0] / means[1], drawn_means[0] / drawn_means[1]),
    }


def main(given: argparse.Namespace) -> dict[str, Any]:
    """The measurement."""
    pictures = urls()
    bodies = [asking(pictures, number, temperature=0.0) for number in range(2 * TOGETHER)]
    with started(OURS, given.port) as ours, started(THEIRS, given.port + 1) as theirs:
        sides = [(server, httpx.Client(base_url=server.url, timeout=120)) for server in (ours, theirs)]
        named = [[{**body, "model": model} for body in bodies] for model in ("scenes", str(SCENES))]
        for number in range(PICTURES):  # which also loads the model and warms it
            for (server, client), own in zip(sides, named, strict=True):
                one(client, server, own[number])
        seconds, same = np.zeros((2, given.pairs, 2)), 0
        for number in range(given.pairs):
            said = ["", ""]
            for at in (0, 1) if number % 2 else (1, 0):
                server, client = sides[at]
                said[at], *seconds[at, number] = one(client, server, named[at][number % len(bodies)])
            same += said[0] == said[1]
        for _, client in sides:
            client.close()
        rounds: list[list[tuple[Any, Any]]] = [[], []]
        for _ in range(given.rounds):
            for at, (server, _) in enumerate(sides):
                alone = rate(server, named[at][:PICTURES], 1)
                rounds[at].append((alone, rate(server, named[at], TOGETHER)))
    found: dict[str, Any] = {"one_client": compared(*seconds), "same_texts": f"{same} of {given.pairs}"}
    for name, own in zip(("lvlm-saliency", "transformers"), rounds, strict=True):
        if own:
            found[name] = of_rounds(*zip(*own, strict=True))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=re.sub(r"\s+", " ", __doc__ or ""))
    parser.add_argument("pairs", type=int, nargs="?", default=200)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of 16 clients; 0: none")
    parser.add_argument("--port", type=int, default=8775)
    print(json.dumps(main(parser.parse_args()), indent=1))
