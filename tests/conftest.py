"""Fixtures that all tests share."""

from __future__ import annotations

import os

import hypothesis
import pytest
import torch

from zoo import FAMILIES, MORE, Family
from zoo.seeing import family_of

# Time is measured in bench/, and a busy machine is no failure.
hypothesis.settings.register_profile("untimed", deadline=None)
if hypothesis.settings.get_current_profile_name() == "default":
    hypothesis.settings.load_profile("untimed")

torch.set_num_threads(1)  # tiny models: threads only cost


# `make test-versions` names a few, to be short on releases beside the one that every commit runs on.
CHOSEN = [name for name in os.environ.get("LVLM_SALIENCY_FAMILIES", "").split(",") if name] or [
    *FAMILIES,
    *(pytest.param(name, marks=pytest.mark.slow) for name in MORE),
]


KINDS = ("llava", "qwen2_5_vl", "gemma3", "internvl", "gemma2", "qwen3_5")
"""A family of each kind: plain, positions in three dimensions, sliding windows, tiles, capped scores of a text model, a
hybrid. Tests marked `each_kind` run on the others under `make test-slow`, and a second setting of a method (a row whose
`variant` is true) on all but the first two."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before the choice by marker: what is left to the long run."""
    for item in items:
        named = getattr(item, "callspec", None)
        if item.get_closest_marker("each_kind") and named:
            fast = KINDS[:2] if getattr(named.params.get("row"), "variant", False) else KINDS
            if named.params.get("family") not in fast:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(params=CHOSEN)
def family(request: pytest.FixtureRequest) -> Family:
    """Every supported family in turn; its tiny model is built once per process."""
    return family_of(request.param)
