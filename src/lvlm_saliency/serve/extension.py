"""The request field that extends OpenAI's API: methods, and what to report of each token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvlm_saliency.errors import LvlmSaliencyError
from lvlm_saliency.serve.faults import Fault
from lvlm_saliency.serve.fields import flag, whole
from lvlm_saliency.serve.rows import Wishes

EXTRA = "lvlm_saliency"
FLAGS, LISTS = ("explain", "risk", "drafts"), ("methods", "detectors")
MOST_TOP, MOST_NAMES, LONGEST_NAME = 20, 8, 200


def extension(value: Any) -> dict[str, Any]:
    """The content of the extension field, checked. Raises `Fault`."""
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise Fault(400, f"{EXTRA} must be an object", EXTRA)
    if strange := sorted(set(value) - {*FLAGS, *LISTS}):
        raise Fault(400, f"unknown field {strange[0][:60]!r} in {EXTRA}", f"{EXTRA}.{strange[0][:60]}")
    found: dict[str, Any] = {name: flag(value, name, f"{EXTRA}.{name}") for name in FLAGS}
    for name in LISTS:
        given = value.get(name)
        given = [] if given is None else [given] if isinstance(given, str) else given
        fine = isinstance(given, list) and len(given) <= MOST_NAMES
        if not fine or not all(isinstance(one, str) and len(one) <= LONGEST_NAME for one in given):
            raise Fault(
                400,
                f"{name} must be a list of at most {MOST_NAMES} names of at most {LONGEST_NAME} characters",
                f"{EXTRA}.{name}",
            )
        found[name] = tuple(given)
    _check_detectors(found["detectors"])
    return found


def _check_detectors(names: Sequence[str]) -> None:
    from lvlm_saliency.detection.registry import detector

    for name in names:
        try:
            detector(name)
        except (LvlmSaliencyError, TypeError) as error:
            raise Fault(400, f"detector {name[:60]!r} cannot be used: {error}", f"{EXTRA}.detectors") from error


def wishes_of(body: Mapping[str, Any], wanted: Mapping[str, Any], risk: Any) -> Wishes:
    """What a request wants to be told of each token.

    Args:
        wanted: the result of `extension`.
        risk: the server's risk model, or None.

    Raises:
        Fault: something that the server cannot provide.
    """
    top = whole(body, "top_logprobs", 0, MOST_TOP)
    logprobs = flag(body, "logprobs")
    if top and not logprobs:
        raise Fault(400, "top_logprobs go with logprobs=true", "top_logprobs")
    if wanted["risk"] and risk is None:
        raise Fault(400, "this server has no risk model: it is started with --risk FILE", f"{EXTRA}.risk")
    return Wishes(logprobs, top or 0, wanted["explain"], wanted["risk"], wanted["detectors"], wanted["drafts"])
