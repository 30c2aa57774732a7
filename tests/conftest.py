"""Fixtures that all tests share."""

from __future__ import annotations

import pytest
import torch

from zoo import FAMILIES, Family

torch.set_num_threads(1)  # tiny models: threads only cost


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    """Every supported family in turn; its tiny model is built once per process."""
    return FAMILIES[request.param]
