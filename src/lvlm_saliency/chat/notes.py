"""What is said of each token of a text, as plain data."""

from __future__ import annotations

import math
from typing import Any

from lvlm_saliency.chat.explanation import Explanation
from lvlm_saliency.tracing.result import PARTS

REGIONS = ("output", "previous", "image", "prompt", "system")


def token_notes(explanation: Explanation) -> list[dict[str, Any]]:
    """One entry per token: saliency by region, log-probability, entropy, risk and detectors where they were read.

    `object` is the word that begins with the token, where the risk model takes it for an object word, else None.
    """
    trace = explanation.trace
    regions = (*REGIONS, *(PARTS if trace.parts is not None else ()))
    saliency = {region: trace.scores(region)[0].tolist() for region in regions}
    logprobs, entropy = trace.logprobs[0].tolist(), trace.entropy[0].tolist()
    risk = explanation.risk
    found = []
    for at in range(len(explanation.tokens)):
        entry: dict[str, Any] = {
            "saliency": {region: number(values[at]) for region, values in saliency.items()},
            "logprob": number(logprobs[at]),
            "entropy": number(entropy[at]),
        }
        if risk is not None:
            known = risk.objects[at]
            entry["risk"] = number(risk.values[at]) if known else None
            entry["object"] = word_from(explanation.tokens, at) if known else None
        if explanation.detectors:
            entry["detectors"] = {name: number(values[at]) for name, values in explanation.detectors.items()}
        found.append(entry)
    return found


def word_from(tokens: Any, at: int) -> str:
    """The word that begins with a token, as far as its letters go."""
    word = tokens[at].lstrip()
    for token in tokens[at + 1 :]:
        if not word or not token[:1].isalnum() or not word[-1].isalnum():
            break
        word += token
    return word.rstrip(" \n\t.,;:!?")


def number(value: float | None) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
