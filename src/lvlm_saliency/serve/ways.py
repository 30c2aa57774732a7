"""Turns the methods that clients name into a `Way`: draws depend on the request's seed, files cannot be named."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from lvlm_saliency.attention.parts import Role, together
from lvlm_saliency.decoding.loop import composed
from lvlm_saliency.errors import LvlmSaliencyError
from lvlm_saliency.interventions.parsing import parse_specs
from lvlm_saliency.interventions.registry import method, method_class
from lvlm_saliency.interventions.sampling import Sampling
from lvlm_saliency.serve.faults import Fault
from lvlm_saliency.serve.rows import Way

PARAM = "lvlm_saliency.methods"
WORD = re.compile(r"[a-z][a-z0-9_-]{0,40}")
MOST_ROWS = 32
"""The largest number of beams of one text."""
MOST = {"samples": 32, "local_tries": 32, "beginnings": 32, "total_tries": 200}
"""Upper limits of settings by which one request could delay all others."""


def way_of(
    specs: Sequence[str],
    sampled: bool,
    temperature: float,
    top_p: float,
    own: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> Way:
    """How a text is decoded under some methods.

    Args:
        specs: each `name` or `name:setting=value,...`.
        own: methods that exist on this server only (calibrated guards), by name.

    Raises:
        Fault: an unknown method or setting, or methods that cannot be combined.
    """
    try:
        methods = [_seeded(one) for spec in specs for one in own.get(spec) or _parsed(spec)]
        roles = together(methods)
        looping = Role.LOOP in roles
        settles = any(Role.LOOP in one.roles and Role.TOKENS not in one.roles for one in methods)
        if any(one.rows_per_token > MOST_ROWS for one in methods):
            raise Fault(400, f"a method may take at most {MOST_ROWS} beams here", PARAM)
        if sampled and looping and Role.TOKENS in roles:
            raise Fault(400, "a method that searches draws nothing: leave temperature and top_p out", "temperature")
        if sampled and Role.TOKENS not in roles:
            methods.append(Sampling(seed=0))
        composed(methods)
    except LvlmSaliencyError as error:
        raise error if isinstance(error, Fault) else Fault(400, str(error), PARAM) from error
    # A search yields its text at the end; a method that rewrites sentences yields each sentence once it is settled.
    return Way(tuple(methods), looping, not looping, settles, sampled, temperature, top_p)


def _parsed(spec: str) -> list[Any]:
    found = []
    for name, settings in parse_specs(spec):
        kind: Any = method_class(name)
        fields = {field.name for field in dataclasses.fields(kind)}
        for key, value in settings.items():
            # A setting that names a file would let clients read the server's.
            if isinstance(value, str) and (key not in fields or key == "risk" or not WORD.fullmatch(value)):
                raise Fault(400, f"{name}: {key}={value[:40]!r} cannot be set by a request", PARAM)
            if isinstance(value, (int, float)) and value > MOST.get(key, math.inf):
                raise Fault(400, f"{name}: {key} may be at most {MOST[key]} here", PARAM)
        found.append(method(name, **settings))
    return found


def _seeded(one: Any) -> Any:
    """The method with draws that depend on the sample number alone, run step by step.

    So a text does not depend on what else is in the batch, and stops where its own request says.
    """
    one = one.seeded(0)
    knobs = {field.name for field in dataclasses.fields(one)}
    return dataclasses.replace(one, execution="stepwise") if "execution" in knobs else one
